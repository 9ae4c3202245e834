package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// direct asks with the driver of Grafana's PostgreSQL data source as that does: a pool, the simple protocol, values by the types
// that the server announces. It stands in for the data source, which can't be had as a module.
type direct struct{ pool *pgxpool.Pool }

func directly(ctx context.Context, address, user, password string) (*direct, error) {
	config, err := pgxpool.ParseConfig((&url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password), Host: address, Path: "/polymeter", RawQuery: "sslmode=disable",
	}).String())
	if err != nil {
		return nil, err
	}
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &direct{pool: pool}, nil
}

func (d *direct) health(ctx context.Context) (string, error) {
	return "Ping", d.pool.Ping(ctx)
}

func (d *direct) query(ctx context.Context, q question) (*table, error) {
	at := func(at time.Time) string { return "'" + at.UTC().Format(time.RFC3339Nano) + "'" }
	sql, _ := q.model["rawSql"].(string)
	sql = interpolated(sql, q.values, q)
	sql = strings.ReplaceAll(strings.ReplaceAll(sql, "$__timeFrom()", at(q.from)), "$__timeTo()", at(q.to))

	connection, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer connection.Release()
	results, err := connection.Conn().PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || !results[0].CommandTag.Select() {
		return nil, fmt.Errorf("%d results, wanted those of one SELECT", len(results))
	}
	types := pgtype.NewMap()
	out := &table{rows: len(results[0].Rows), kinds: map[string]string{}, values: map[string][]any{}}
	for i, column := range results[0].FieldDescriptions {
		var kind string
		switch column.DataTypeOID {
		case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.NumericOID, pgtype.Float4OID, pgtype.Float8OID:
			kind = "number"
		case pgtype.TimestampOID, pgtype.TimestamptzOID, pgtype.DateOID:
			kind = "timestamp"
		case pgtype.BoolOID:
			kind = "boolean"
		default:
			kind = "string"
		}
		values := make([]any, out.rows)
		for at, row := range results[0].Rows {
			if row[i] == nil {
				continue
			}
			var value any
			var err error
			switch kind {
			case "number":
				var number float64
				err = types.Scan(column.DataTypeOID, column.Format, row[i], &number)
				value = number
			case "timestamp":
				var when time.Time
				err = types.Scan(column.DataTypeOID, column.Format, row[i], &when)
				value = float64(when.UnixMilli())
			case "boolean":
				var yes bool
				err = types.Scan(column.DataTypeOID, column.Format, row[i], &yes)
				value = yes
			default:
				value = string(row[i])
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", column.Name, err)
			}
			values[at] = value
		}
		out.names = append(out.names, column.Name)
		out.kinds[column.Name], out.values[column.Name] = kind, values
	}
	return out, nil
}

func (d *direct) close() { d.pool.Close() }
