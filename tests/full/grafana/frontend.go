package main

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Points that fit a panel of 24 columns on a usual screen.
const maxDataPoints = 1000

// steps are the intervals that Grafana offers, and below which quotient it takes each.
var steps = []struct{ below, step time.Duration }{
	{15 * time.Millisecond, 10 * time.Millisecond}, {35 * time.Millisecond, 20 * time.Millisecond},
	{75 * time.Millisecond, 50 * time.Millisecond}, {150 * time.Millisecond, 100 * time.Millisecond},
	{350 * time.Millisecond, 200 * time.Millisecond}, {750 * time.Millisecond, 500 * time.Millisecond},
	{1500 * time.Millisecond, time.Second}, {3500 * time.Millisecond, 2 * time.Second}, {7500 * time.Millisecond, 5 * time.Second},
	{12500 * time.Millisecond, 10 * time.Second}, {17500 * time.Millisecond, 15 * time.Second}, {25 * time.Second, 20 * time.Second},
	{45 * time.Second, 30 * time.Second}, {90 * time.Second, time.Minute}, {210 * time.Second, 2 * time.Minute},
	{450 * time.Second, 5 * time.Minute}, {750 * time.Second, 10 * time.Minute}, {1050 * time.Second, 15 * time.Minute},
	{1500 * time.Second, 20 * time.Minute}, {2700 * time.Second, 30 * time.Minute}, {90 * time.Minute, time.Hour},
	{150 * time.Minute, 2 * time.Hour}, {270 * time.Minute, 3 * time.Hour}, {9 * time.Hour, 6 * time.Hour}, {24 * time.Hour, 12 * time.Hour},
}

// interval is `$__interval` of a panel: what fits the points, not below the least.
func interval(span time.Duration, least string) time.Duration {
	found := 24 * time.Hour
	for _, one := range steps {
		if span/maxDataPoints < one.below {
			found = one.step
			break
		}
	}
	if least != "" {
		found = max(found, duration(strings.TrimPrefix(least, ">")))
	}
	return found
}

var variables = regexp.MustCompile(`\$\{(\w+)(?::([\w:]+))?\}|\$(__interval_ms|__interval|__from|__to)\b`)

const iso = "2006-01-02T15:04:05.000Z"

// interpolated is a text of a target as the front end sends it.
func interpolated(text string, values map[string]string, q question) string {
	return variables.ReplaceAllStringFunc(text, func(found string) string {
		parts := variables.FindStringSubmatch(found)
		name, format := parts[1]+parts[3], parts[2]
		switch name {
		case "__from", "__to":
			at := q.from
			if name == "__to" {
				at = q.to
			}
			if format == "date" || format == "date:iso" {
				return at.UTC().Format(iso)
			}
			return strconv.FormatInt(at.UnixMilli(), 10)
		case "__interval_ms":
			return strconv.FormatInt(q.interval.Milliseconds(), 10)
		case "__interval":
			return q.interval.String()
		}
		value, there := values[name]
		if !there {
			return found
		}
		all, isAll := strings.CutPrefix(value, "\x00")
		switch {
		case format == "percentencode":
			return strings.ReplaceAll(url.QueryEscape(all), "+", "%20")
		case isAll:
			return all
		case format == "sqlstring":
			return "'" + strings.ReplaceAll(value, "'", "''") + "'"
		}
		return value
	})
}

// sent is the model of the query in the request for data.
func (q question) sent() ([]byte, error) {
	return json.Marshal(replaced(map[string]any(q.model), q.values, q))
}

func replaced(value any, values map[string]string, q question) any {
	switch value := value.(type) {
	case string:
		return interpolated(value, values, q)
	case map[string]any:
		out := map[string]any{}
		for key, inner := range value {
			out[key] = replaced(inner, values, q)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, inner := range value {
			out[i] = replaced(inner, values, q)
		}
		return out
	}
	return value
}
