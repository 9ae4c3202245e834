// Asks everything that the Grafana dashboards and alert rules ask as the backends of Grafana's data sources do, of a polymeter that
// serves the demo. One line a check. grafana_backend.py starts the server and calls this.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// How long one question may take: a debug build on a busy machine.
const patience = 2 * time.Minute

var failed bool

// kept takes the answers to panels, for those who draw them.
var kept *json.Encoder

func say(right bool, what string, detail ...any) {
	word := "ok"
	if !right {
		word, failed = "FAILED", true
	}
	tail := ""
	if len(detail) > 0 {
		tail = " (" + fmt.Sprint(detail...) + ")"
	}
	fmt.Printf("%s grafana_backend: %s%s\n", word, what, tail)
}

// source is a data source of Grafana, set up for one polymeter.
type source interface {
	// health asks as little as possible.
	health(ctx context.Context) (string, error)
	query(ctx context.Context, one question) (*table, error)
	close()
}

func main() {
	var (
		folder   = flag.String("dashboards", "dashboards", "the folder with postgres, infinity and alerting")
		http     = flag.String("http", "", "address of polymeter's HTTP API")
		pg       = flag.String("pg", "", "address of polymeter's PostgreSQL wire")
		user     = flag.String("user", "grafana", "who asks over the PostgreSQL wire")
		password = flag.String("password", "", "and the password")
		token    = flag.String("token", "", "bearer token for the HTTP API")
		keep     = flag.String("keep", "", "file for the answers to the panels, a JSON object a line, for the front end's part of the work")
		late     = flag.Duration("late", 2*time.Minute, "the range ends so long ago, so that nothing changes while both forms are asked")
	)
	flag.Parse()
	ctx := context.Background()
	if *keep != "" {
		file, err := os.Create(*keep)
		if err != nil {
			say(false, "the answers can be kept", err)
			os.Exit(1)
		}
		defer file.Close()
		kept = json.NewEncoder(file)
	}
	to := time.Now().Add(-*late).Truncate(time.Second)
	api := apiOf(*http, *token)

	wire, err := directly(ctx, *pg, *user, *password)
	if err != nil {
		say(false, "pgx starts", err)
		os.Exit(1)
	}
	defer wire.close()
	form(ctx, "pgx", wire, *folder, "postgres", to, api)
	editor(ctx, wire)
	refusals(ctx, *pg, *user)
	form(ctx, "as Infinity", &infinity{base: "http://" + *http, token: *token}, *folder, "infinity", to, api)
	if failed {
		os.Exit(1)
	}
}

// form asks all that the dashboards of one form ask.
func form(ctx context.Context, name string, asked source, folder, kind string, to time.Time, api *api) {
	message, err := asked.health(ctx)
	say(err == nil, name+": reaches it", message, orNothing(err))

	boards, err := readBoards(folder, kind)
	if err != nil {
		say(false, name+": dashboards are read", err)
		return
	}
	known := map[string]bool{}
	answers := map[string]int{}
	var wrong, differ []string
	rows, same := 0, 0
	for _, board := range boards {
		for _, one := range board.questions(kind, to) {
			if known[one.key()] {
				continue // Variables are the same on most dashboards.
			}
			known[one.key()] = true
			answers[one.what]++
			found, faults := one.ask(ctx, asked)
			if found != nil {
				rows += found.rows
				if kept != nil && one.what == "panel" {
					if err := kept.Encode(found.forPanel(kind, one)); err != nil {
						faults = append(faults, err.Error())
					}
				}
				compared, differences := api.compare(one, found)
				same += compared
				for _, difference := range differences {
					differ = append(differ, one.place+": "+difference)
				}
			}
			for _, fault := range faults {
				wrong = append(wrong, one.place+": "+fault)
			}
		}
	}
	for _, fault := range append(wrong, differ...) {
		fmt.Printf("  %s: %s\n", name, fault)
	}
	counts := make([]string, 0, len(answers))
	for _, what := range slices.Sorted(maps.Keys(answers)) {
		counts = append(counts, fmt.Sprintf("%d %ss", answers[what], what))
	}
	say(len(wrong) == 0 && answers["panel"] > 40, name+": every panel, variable and annotation is answered with what it draws",
		strings.Join(counts, ", "), ", ", rows, " rows")
	say(len(differ) == 0 && same > 1000, name+": values are those of the HTTP API", same, " values")
	together(ctx, name, asked, boards, kind, to)
	chosen(ctx, name, asked, boards, kind, to, api)
	alerts(ctx, name, asked, folder, kind)
}

func orNothing(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
