package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// infinity asks over HTTP as the backend of the Infinity data source does, after its published source: its headers, its way of
// writing a URL anew, JSON taken in as floats, columns by selector in the order of their names, values by declared types.
// It stands in for the plugin, which can't be had as a module.
type infinity struct{ base, token string }

func (s *infinity) health(ctx context.Context) (string, error) {
	_, err := s.get(ctx, "/api/v1/queries")
	return "GET /api/v1/queries", err
}

func (s *infinity) get(ctx context.Context, path string) (map[string]any, error) {
	at, err := url.Parse(s.base + path)
	if err != nil {
		return nil, err
	}
	at.RawQuery = at.Query().Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json;q=0.9,text/plain")
	request.Header.Set("Accept-Encoding", "gzip")
	if s.token != "" {
		request.Header.Add("Authorization", "Bearer "+s.token)
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	body := io.Reader(reply.Body)
	if strings.EqualFold(reply.Header.Get("Content-Encoding"), "gzip") {
		if body, err = gzip.NewReader(reply.Body); err != nil {
			return nil, err
		}
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode >= http.StatusBadRequest {
		return nil, errors.New(reply.Status)
	}
	var out map[string]any
	return out, json.Unmarshal(text, &out)
}

func (s *infinity) query(ctx context.Context, q question) (*table, error) {
	path, _ := q.model["url"].(string)
	body, err := s.get(ctx, interpolated(path, q.values, q))
	if err != nil {
		return nil, err
	}
	root, _ := q.model["root_selector"].(string)
	rows, there := body[root].([]any)
	if !there {
		return nil, fmt.Errorf("there is no list %q in the answer", root)
	}
	out := &table{rows: len(rows), kinds: map[string]string{}, values: map[string][]any{}}
	if len(rows) == 0 {
		return out, nil
	}
	own := q
	own.twin = q.model
	for _, column := range own.columns() {
		values := make([]any, len(rows))
		for i, row := range rows {
			cells, _ := row.(map[string]any)
			values[i] = converted(cells[column.Selector], column.Type)
		}
		out.names = append(out.names, column.Selector)
		out.kinds[column.Selector], out.values[column.Selector] = column.Type, values
	}
	slices.Sort(out.names)
	return out, nil
}

// converted is what a column of a type makes of a value; what it can't read is nothing, and would be seen as a difference.
func converted(value any, kind string) any {
	switch value := value.(type) {
	case string:
		switch kind {
		case "string":
			return value
		case "number":
			if number, err := strconv.ParseFloat(value, 64); err == nil {
				return number
			}
		case "timestamp":
			for _, layout := range []string{time.RFC3339, time.DateOnly} {
				if at, err := time.Parse(layout, value); err == nil {
					return float64(at.UnixMilli())
				}
			}
		}
	case float64:
		switch kind {
		case "string":
			return fmt.Sprintf("%v", value)
		case "number":
			return value
		}
	case bool:
		switch kind {
		case "string":
			return strconv.FormatBool(value)
		case "boolean":
			return value
		}
	}
	return nil
}

func (s *infinity) close() {}
