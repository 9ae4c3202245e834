package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// chosen opens the Overview with a platform chosen, and with values that hold quotes: they filter, and break nothing.
func chosen(ctx context.Context, name string, asked source, boards []*board, kind string, to time.Time, api *api) {
	var calls question
	for _, board := range boards {
		for _, one := range board.questions(kind, to) {
			if board.Title == "polymeter: Overview" && one.what == "panel" && len(one.shown) == 1 && one.shown[0] == "calls" {
				calls = one
			}
		}
	}
	with := func(value string) (any, []string) {
		one := calls
		one.values, one.twinValues = map[string]string{}, map[string]string{}
		for key := range calls.values {
			one.values[key], one.twinValues[key] = calls.values[key], calls.twinValues[key]
		}
		one.values["platform"], one.twinValues["platform"] = value, value
		found, wrong := one.ask(ctx, asked)
		if found == nil || found.rows != 1 {
			return nil, wrong
		}
		_, differences := api.compare(one, found)
		return found.values["calls"][0], append(wrong, differences...)
	}
	all, _ := calls.ask(ctx, asked)
	some, wrong := with("aws.bedrock")
	right := len(wrong) == 0 && all != nil && all.rows == 1 && some != nil
	if right {
		whole, _ := all.values["calls"][0].(float64)
		part, _ := some.(float64)
		right = 0 < part && part < whole
	}
	say(right, name+": a chosen platform filters", some, orAll(wrong))
	for _, value := range []string{"x' OR '1'='1", `a\'b`, "100% & more?=#", "${team:sqlstring}"} {
		count, wrong := with(value)
		say(len(wrong) == 0 && count == 0.0, fmt.Sprintf("%s: the value %q is a value", name, value), count, orAll(wrong))
	}
}

func orAll(wrong []string) string { return strings.Join(wrong, "; ") }

// together opens each dashboard as a browser does: everything at once, over the connections that the data source may have.
func together(ctx context.Context, name string, asked source, boards []*board, kind string, to time.Time) {
	var wrong []string
	count := 0
	for _, board := range boards {
		questions := board.questions(kind, to)
		faults := make([][]string, len(questions))
		var all sync.WaitGroup
		for i, one := range questions {
			all.Go(func() { _, faults[i] = one.ask(ctx, asked) })
		}
		all.Wait()
		count += len(questions)
		for i, found := range faults {
			for _, fault := range found {
				wrong = append(wrong, questions[i].place+": "+fault)
			}
		}
	}
	for _, fault := range wrong {
		fmt.Printf("  %s: %s\n", name, fault)
	}
	say(len(wrong) == 0 && count > 40, name+": each dashboard's questions at once are answered", count, " questions")
}

// alerts asks the alert rules' queries; Grafana takes a table for a rule if it has one number, and text beside it as labels.
func alerts(ctx context.Context, name string, asked source, folder, kind string) {
	text, err := os.ReadFile(filepath.Join(folder, "alerting", kind+".json"))
	if err != nil {
		say(false, name+": alert rules are read", err)
		return
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Title string `json:"title"`
				Data  []struct {
					Model             target `json:"model"`
					RelativeTimeRange struct {
						From, To int64
					} `json:"relativeTimeRange"`
				} `json:"data"`
			} `json:"rules"`
		} `json:"groups"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		say(false, name+": alert rules are read", err)
		return
	}
	var wrong []string
	count, series := 0, 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			data := rule.Data[0]
			if data.Model["rawSql"] == nil && data.Model["url"] == nil {
				continue // asks Prometheus
			}
			count++
			now := time.Now()
			one := question{
				place: rule.Title, model: data.Model, interval: time.Second,
				from: now.Add(-time.Duration(data.RelativeTimeRange.From) * time.Second), to: now.Add(-time.Duration(data.RelativeTimeRange.To) * time.Second),
			}
			found, err := asked.query(ctx, one)
			if err != nil {
				wrong = append(wrong, rule.Title+": "+err.Error())
				continue
			}
			series += found.rows
			kinds := map[string]int{}
			for _, kind := range found.kinds {
				kinds[kind]++
			}
			if found.rows > 0 && (kinds["number"] != 1 || kinds["number"]+kinds["string"] != len(found.kinds)) {
				wrong = append(wrong, fmt.Sprintf("%s: an alert needs one number and labels: %v", rule.Title, found.kinds))
			}
		}
	}
	for _, fault := range wrong {
		fmt.Printf("  %s: %s\n", name, fault)
	}
	say(len(wrong) == 0 && count == 4, name+": alert rules get a number for each set of labels", count, " rules, ", series, " series")
}

// refusals are the mistakes of setting a data source up: each has to be told.
func refusals(ctx context.Context, address, user string) {
	for what, to := range map[string][2]string{"a wrong password": {address, "not this one"}, "a port where nobody listens": {"127.0.0.1:1", "x"}} {
		asked, err := directly(ctx, to[0], user, to[1])
		if err != nil {
			say(false, "pgx starts", err)
			continue
		}
		_, err = asked.health(ctx)
		say(err != nil, "pgx: a ping tells "+what, orNothing(err))
		asked.close()
	}
}

// editor asks what newer query editors ask of the catalog, with parameters and prepared statements, and reads it as they do.
func editor(ctx context.Context, asked *direct) {
	texts := func(sql string, with ...any) ([]string, error) {
		rows, err := asked.pool.Query(ctx, sql, with...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	}
	schemas, err := texts("SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT LIKE 'pg_%' AND schema_name <> 'information_schema'")
	say(err == nil && slices.Contains(schemas, "public"), "pgx: the editor finds schemas", schemas, orNothing(err))
	tables, err := texts("SELECT table_name FROM information_schema.tables WHERE table_schema = $1 AND table_type IN ('BASE TABLE', 'VIEW')", "public")
	say(err == nil && slices.Contains(tables, "calls") && slices.Contains(tables, "coverage"), "pgx: the editor finds tables and views", len(tables), orNothing(err))
	rows, err := asked.pool.Query(ctx, `SELECT column_name, data_type, numeric_precision, numeric_scale
		FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position`, "public", "calls")
	if err != nil {
		say(false, "pgx: the editor finds columns", err)
		return
	}
	types := map[string]string{}
	var name, kind string
	var precision, scale *int
	_, err = pgx.ForEachRow(rows, []any{&name, &kind, &precision, &scale}, func() error {
		types[name] = kind
		if strings.HasPrefix(kind, "Decimal") && (precision == nil || scale == nil) {
			return fmt.Errorf("%s has no precision", name)
		}
		return nil
	})
	say(err == nil && types["ts"] != "" && types["cost"] != "", "pgx: the editor finds columns", len(types), orNothing(err))
	values, err := texts(`SELECT CAST("platform" AS text) AS val FROM (SELECT DISTINCT "platform" FROM "public"."calls" WHERE "platform" IS NOT NULL ORDER BY "platform" LIMIT 100) AS sub`)
	say(err == nil && slices.Contains(values, "aws.bedrock"), "pgx: the editor finds values", values, orNothing(err))
}
