package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

type column struct {
	Selector string `json:"selector"`
	Type     string `json:"type"`
}

// target is what a panel asks; which of its fields are there tells the data source.
type target map[string]any

type panel struct {
	ID              int      `json:"id"`
	Type            string   `json:"type"`
	Title           string   `json:"title"`
	Interval        string   `json:"interval"`
	TimeFrom        string   `json:"timeFrom"`
	Targets         []target `json:"targets"`
	Transformations []struct {
		ID      string `json:"id"`
		Options struct {
			Include struct {
				Names []string `json:"names"`
			} `json:"include"`
		} `json:"options"`
	} `json:"transformations"`
}

type board struct {
	Title string `json:"title"`
	Time  struct {
		From string `json:"from"`
	} `json:"time"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name     string          `json:"name"`
			Type     string          `json:"type"`
			AllValue *string         `json:"allValue"`
			Query    json.RawMessage `json:"query"`
			Current  struct {
				Value any `json:"value"`
			} `json:"current"`
		} `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Name     string                       `json:"name"`
			Target   target                       `json:"target"`
			Mappings map[string]map[string]string `json:"mappings"`
		} `json:"list"`
	} `json:"annotations"`
	// twin is the same dashboard for Infinity: it declares the columns and their types, and names the question to the API.
	twin *board
}

// question is one request of Grafana's front end, as far as its variables are not put in yet.
type question struct {
	what, place string
	kind        string // of the panel
	board       string
	panel       int
	model       target
	twin        target
	shown       []string
	from, to    time.Time
	interval    time.Duration
	values      map[string]string
	twinValues  map[string]string
}

func readBoards(folder, kind string) ([]*board, error) {
	read := func(form string) ([]*board, error) {
		files, err := filepath.Glob(filepath.Join(folder, form, "*.json"))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("no dashboards in %s/%s: %w", folder, form, err)
		}
		var boards []*board
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			one := &board{}
			if err := json.Unmarshal(text, one); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			boards = append(boards, one)
		}
		return boards, nil
	}
	boards, err := read(kind)
	if err != nil {
		return nil, err
	}
	twins, err := read("infinity")
	if err != nil {
		return nil, err
	}
	if len(boards) != len(twins) {
		return nil, fmt.Errorf("%d dashboards, and %d for Infinity", len(boards), len(twins))
	}
	for i := range boards {
		boards[i].twin = twins[i]
	}
	return boards, nil
}

// questions is everything that this dashboard asks polymeter when it is opened; Prometheus is another's.
func (b *board) questions(kind string, to time.Time) []question {
	values, twinValues := b.values(), b.twin.values()
	make := func(what, name, panelKind string, model, twin target, shown []string, span, least string) question {
		from := to.Add(-duration(span))
		return question{
			what: what, place: b.Title + " / " + name, kind: panelKind, model: model, twin: twin, shown: shown,
			from: from, to: to, interval: interval(to.Sub(from), least), values: values, twinValues: twinValues,
		}
	}
	span := strings.TrimPrefix(b.Time.From, "now-")
	var all []question
	for i, one := range b.Panels {
		if one.Type == "row" || one.Targets[0]["expr"] != nil {
			continue
		}
		shownSpan := span
		if one.TimeFrom != "" {
			shownSpan = one.TimeFrom
		}
		names := one.Transformations[0].Options.Include.Names
		asked := make("panel", one.Title, one.Type, one.Targets[0], b.twin.Panels[i].Targets[0], names, shownSpan, one.Interval)
		asked.board, asked.panel = b.Title, one.ID
		all = append(all, asked)
	}
	for i, one := range b.Annotations.List {
		if one.Target == nil || one.Mappings == nil {
			continue
		}
		var shown []string
		for _, source := range one.Mappings {
			shown = append(shown, source["value"])
		}
		slices.Sort(shown)
		all = append(all, make("annotation", one.Name, "annotation", one.Target, b.twin.Annotations.List[i].Target, shown, span, ""))
	}
	for i, one := range b.Templating.List {
		if one.Type != "query" {
			continue
		}
		model := variable(one.Query)
		twin := variable(b.twin.Templating.List[i].Query)
		all = append(all, make("variable", one.Name, "variable", model, twin, []string{"value"}, span, ""))
	}
	return all
}

// variable is the query of a variable as the front end sends it: SQL is a table, Infinity has a query inside.
func variable(query json.RawMessage) target {
	var sql string
	if json.Unmarshal(query, &sql) == nil {
		return target{"rawSql": sql, "format": "table", "refId": "tempvar"}
	}
	var nested struct {
		InfinityQuery target `json:"infinityQuery"`
	}
	if err := json.Unmarshal(query, &nested); err != nil {
		panic(err)
	}
	return nested.InfinityQuery
}

// values of the variables when a dashboard is opened; a custom value of All is put in as it stands.
func (b *board) values() map[string]string {
	values := map[string]string{}
	for _, one := range b.Templating.List {
		if one.AllValue != nil {
			values[one.Name] = "\x00" + *one.AllValue
		} else {
			values[one.Name] = fmt.Sprint(one.Current.Value)
		}
	}
	return values
}

func (q question) columns() []column {
	text, _ := json.Marshal(q.twin["columns"])
	var columns []column
	_ = json.Unmarshal(text, &columns)
	return columns
}

// key tells questions apart that are asked once only.
func (q question) key() string {
	text, _ := json.Marshal(q.model)
	return fmt.Sprint(string(text), q.from, q.shown, q.interval, q.kind)
}

func duration(span string) time.Duration {
	count, err := strconv.Atoi(span[:len(span)-1])
	if err != nil {
		panic("no span of time: " + span)
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	return time.Duration(count) * units[span[len(span)-1]]
}
