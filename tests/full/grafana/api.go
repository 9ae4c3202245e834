package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// api asks polymeter itself what a panel asks it by way of Grafana.
type api struct{ base, token string }

func apiOf(address, token string) *api { return &api{base: "http://" + address, token: token} }

func (a *api) get(path string) ([]map[string]any, error) {
	request, err := http.NewRequest(http.MethodGet, a.base+path, nil)
	if err != nil {
		return nil, err
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	reply, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s", reply.Status, text)
	}
	var body struct {
		Rows []map[string]any `json:"rows"`
	}
	return body.Rows, json.Unmarshal(text, &body)
}

// compare holds an answer against the API's, value by value: how many were the same, and what differs.
func (a *api) compare(q question, found *table) (int, []string) {
	twin := q
	twin.model, twin.values = q.twin, q.twinValues
	url, _ := twin.model["url"].(string)
	rows, err := a.get(interpolated(url, twin.values, twin))
	if err != nil {
		return 0, []string{"the API: " + err.Error()}
	}
	if len(rows) != found.rows {
		return 0, []string{fmt.Sprintf("%d rows, the API has %d", found.rows, len(rows))}
	}
	if found.rows == 0 {
		return 0, nil
	}
	same := 0
	for _, column := range q.columns() {
		values, there := found.values[column.Selector]
		if !there {
			return same, []string{"there is no column " + column.Selector}
		}
		for i, row := range rows {
			wanted := canonical(row[column.Selector], column.Type)
			if !equal(column.Selector, values[i], wanted) {
				return same, []string{fmt.Sprintf("row %d, %s: %v, the API says %v", i, column.Selector, values[i], wanted)}
			}
			same++
		}
	}
	return same, nil
}

// canonical is a value of the API's JSON as a table has it.
func canonical(value any, kind string) any {
	text, isText := value.(string)
	switch {
	case isText && kind == "timestamp":
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if at, err := time.Parse(layout, text); err == nil {
				return float64(at.UnixMilli())
			}
		}
	case isText && kind == "number":
		if number, err := strconv.ParseFloat(text, 64); err == nil {
			return number
		}
	}
	return value
}

// Percentiles are approximate: they depend on which part of the data was ready first.
var approximate = regexp.MustCompile(`(^|_)p\d\d(_|$)`)

func equal(name string, one, other any) bool {
	a, isNumber := one.(float64)
	b, areNumbers := other.(float64)
	if isNumber && areNumbers {
		tolerance := 1e-12
		if approximate.MatchString(name) {
			tolerance = 0.05
		}
		return a == b || math.Abs(a-b) <= tolerance*math.Max(math.Abs(a), math.Abs(b))
	}
	return one == other
}
