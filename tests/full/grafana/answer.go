package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// The bundled prices hold since ever; nobody has changed one.
var mayBeEmpty = []string{"price_changes"}

// table is an answer, whichever way it came: times are milliseconds, numbers floats, what is unknown is nil.
type table struct {
	rows   int
	names  []string
	kinds  map[string]string
	values map[string][]any
}

// ask sends the question, and tells what is wrong with the answer for the panel that draws it.
func (q question) ask(ctx context.Context, asked source) (*table, []string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := asked.query(ctx, q)
	if err != nil {
		return nil, []string{err.Error()}
	}
	if found.rows == 0 {
		text := fmt.Sprint(q.model)
		if slices.ContainsFunc(mayBeEmpty, func(name string) bool { return strings.Contains(text, name) }) {
			return found, nil
		}
		return found, []string{"no row"}
	}
	declared := map[string]string{}
	for _, column := range q.columns() {
		declared[column.Selector] = column.Type
	}
	var wrong []string
	counts := map[string]int{}
	for _, name := range q.shown {
		kind, there := found.kinds[name]
		counts[kind]++
		switch {
		case !there:
			wrong = append(wrong, "there is no column "+name)
		case kind != declared[name]:
			wrong = append(wrong, fmt.Sprintf("%s is a %s, declared as %s", name, kind, declared[name]))
		case !slices.ContainsFunc(found.values[name], func(value any) bool { return value != nil }) && kind == "timestamp":
			wrong = append(wrong, "no time in "+name)
		}
	}
	wrong = append(wrong, fits(q.kind, counts)...)
	if len(wrong) == 0 && (q.kind == "timeseries" || q.kind == "state-timeline") {
		wrong = found.series(q.shown)
	}
	return found, wrong
}

// series tells where a series has two values at one time: they would be drawn above each other.
func (t *table) series(shown []string) []string {
	seen := map[string]bool{}
	for row := range t.rows {
		var key []any
		for _, name := range shown {
			if t.kinds[name] != "number" {
				key = append(key, name, t.values[name][row])
			}
		}
		if text := fmt.Sprint(key); seen[text] {
			return []string{"a series has two values at one time: " + text}
		} else {
			seen[text] = true
		}
	}
	return nil
}

// fits tells what a kind of panel lacks to draw anything at all.
func fits(kind string, counts map[string]int) []string {
	var wrong []string
	switch kind {
	case "timeseries", "state-timeline":
		if counts["timestamp"] != 1 || counts["number"] == 0 {
			wrong = append(wrong, fmt.Sprintf("a %s needs one time and a number: %v", kind, counts))
		}
	case "barchart":
		if counts["string"]+counts["timestamp"] == 0 || counts["number"] == 0 {
			wrong = append(wrong, fmt.Sprintf("a barchart needs a text and a number: %v", counts))
		}
	case "annotation":
		if counts["timestamp"] == 0 || counts["string"] == 0 {
			wrong = append(wrong, fmt.Sprintf("an annotation needs a time and a text: %v", counts))
		}
	}
	return wrong
}

// forPanel is an answer as the front end takes it, and where it belongs.
func (t *table) forPanel(form string, q question) map[string]any {
	types := map[string]string{"timestamp": "time", "number": "number", "string": "string", "boolean": "boolean"}
	fields := make([]map[string]any, 0, len(t.names))
	values := make([][]any, 0, len(t.names))
	for _, name := range t.names {
		fields = append(fields, map[string]any{"name": name, "type": types[t.kinds[name]]})
		values = append(values, t.values[name])
	}
	return map[string]any{
		"form": form, "board": q.board, "panel": q.panel,
		"frame": map[string]any{"schema": map[string]any{"refId": "A", "fields": fields}, "data": map[string]any{"values": values}},
	}
}
