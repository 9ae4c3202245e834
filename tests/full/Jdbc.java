// What JDBC tools do with the PostgreSQL wire: metadata, a fetch size, parameters, exact numbers. Run as a source file.
import java.math.BigDecimal;
import java.sql.*;
import java.time.OffsetDateTime;

public class Jdbc {
    public static void main(String[] args) throws Exception {
        try (Connection connection = DriverManager.getConnection(args[0])) {
            connection.setReadOnly(true);
            connection.setAutoCommit(false);
            int tables = 0, columns = 0;
            try (ResultSet found = connection.getMetaData().getTables(null, "public", "%", new String[] {"TABLE", "VIEW"})) {
                while (found.next()) tables++;
            }
            try (ResultSet found = connection.getMetaData().getColumns(null, "public", "calls", "%")) {
                while (found.next()) columns++;
            }
            if (tables < 4 || columns < 40) throw new IllegalStateException("tables " + tables + ", columns " + columns);
            long rows = 0;
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(100);
                try (ResultSet found = statement.executeQuery("SELECT n FROM generate_series(1, 1000) AS a(n)")) {
                    while (found.next()) rows += 1;
                }
            }
            try (PreparedStatement statement = connection.prepareStatement(
                    "SELECT count(*), sum(cost), max(ts) FROM calls WHERE ts >= ? AND platform = ? AND input_tokens >= ?")) {
                for (int n = 0; n < 7; n++) { // after five times the driver prepares it on the server
                    statement.setObject(1, OffsetDateTime.parse("2026-10-01T00:00:10Z"));
                    statement.setString(2, "aws.bedrock");
                    statement.setLong(3, 105);
                    try (ResultSet found = statement.executeQuery()) {
                        found.next();
                        BigDecimal cost = found.getBigDecimal(2);
                        OffsetDateTime last = found.getObject(3, OffsetDateTime.class);
                        if (found.getLong(1) != 10 || cost.signum() <= 0 || last.getYear() != 2026) {
                            throw new IllegalStateException(found.getLong(1) + " " + cost + " " + last);
                        }
                    }
                }
            }
            connection.commit();
            System.out.println("ok " + tables + " tables, " + columns + " columns, " + rows + " rows");
        }
    }
}
