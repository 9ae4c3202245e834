//! Statements: simple and extended protocol, both through the same steps. Rows go out as they come.

use std::cmp::max;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Sink, SinkExt, Stream, StreamExt, stream};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_execution_response, send_partial_query_response,
    send_query_response, send_ready_for_query,
};
use pgwire::api::results::{DescribePortalResponse, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::DataRow;
use pgwire::messages::extendedquery::{Bind, BindComplete, Execute};
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use tokio_util::sync::CancellationToken;

use super::failure::{code_of, failure, of_query};
use super::params;
use super::rows::{Writer, type_of};
use super::session::Session;
use crate::access::Line;
use crate::query::{Answer, Asker, Described, Kind, Params, Statement};

/// Parameters of a statement at most.
const MOST_PARAMS: usize = 1_000;

/// A statement that was sent ahead.
#[derive(Clone, Debug)]
pub struct Prepared {
    statement: Statement,
    described: Option<Described>,
}

impl Prepared {
    fn columns(&self, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
        match (&self.described, &self.statement.kind) {
            (Some(described), _) => Ok(Writer::new(&described.schema, format)?.fields.to_vec()),
            (None, Kind::Show(name)) => Ok(vec![shown(name, format)]),
            (None, _) => Ok(Vec::new()),
        }
    }
}

/// Reads statements that are sent ahead.
pub struct Parser(Option<Arc<Session>>);

impl Session {
    fn known(&self) -> PgWireResult<Asker> {
        self.asker().ok_or_else(|| failure("28000", "log in first", ""))
    }

    async fn read(&self, sql: &str) -> PgWireResult<Vec<Statement>> {
        let read = self.server.state.engine.statements(sql).await;
        read.map_err(|error| {
            let error = of_query(&error);
            // What can't be read may hold anything, a password too: its first word says enough.
            let mut asked = self.asked(sql.split_whitespace().next().unwrap_or_default());
            asked.outcome = code_of(&error);
            self.server.state.access.audit.write(asked);
            error
        })
    }

    /// Runs one statement. In a transaction that failed, only its end is heard.
    async fn answer(
        &self,
        statement: &Statement,
        params: Params,
        format: &Format,
        status: TransactionStatus,
    ) -> PgWireResult<Response> {
        let failed = matches!(status, TransactionStatus::Error);
        if failed && !matches!(statement.kind, Kind::Commit | Kind::Rollback | Kind::RollbackTo) {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(failure("25P02", message, "send ROLLBACK"));
        }
        Ok(match &statement.kind {
            Kind::Ask => return self.ask(statement, params, format).await,
            Kind::Begin => Response::Execution(Tag::new("BEGIN")),
            Kind::Commit => Response::Execution(Tag::new(if failed { "ROLLBACK" } else { "COMMIT" })),
            Kind::Rollback => Response::Execution(Tag::new("ROLLBACK")),
            Kind::RollbackTo => Response::Execution(Tag::new("ROLLBACK")),
            Kind::Quiet(tag) => Response::Execution(Tag::new(tag)),
            Kind::Set { name, value } => {
                self.set(name, value)?;
                Response::Execution(Tag::new("SET"))
            }
            Kind::Show(name) => self.show(name, format)?,
        })
    }

    fn set(&self, name: &str, value: &str) -> PgWireResult<()> {
        if name == "statement_timeout" {
            let wrong =
                || failure("22023", format!("'{value}' is no time"), "write 5000 (milliseconds), '5s' or '1min'");
            let patience = time(value).ok_or_else(wrong)?;
            self.with(|state| state.patience = patience);
        }
        let value: String = value.chars().take(1_000).collect();
        self.with(|state| state.settings.insert(name.to_owned(), value));
        Ok(())
    }

    fn show(&self, name: &str, format: &Format) -> PgWireResult<Response> {
        // Times are always UTC here, whatever was set: that is what is told.
        let own = self.with(|state| state.settings.get(name).cloned()).filter(|_| name != "timezone");
        let value = own.or_else(|| crate::query::setting(name).map(str::to_owned));
        let Some(value) = value else {
            return Err(failure("42704", format!("unrecognized configuration parameter \"{name}\""), ""));
        };
        let fields = Arc::new(vec![shown(name, format)]);
        let mut encoder = pgwire::api::results::DataRowEncoder::new(Arc::clone(&fields));
        encoder.encode_field(&value)?;
        let row = encoder.take_row();
        let mut response = QueryResponse::new(fields, stream::iter([Ok(row)]));
        response.set_command_tag("SHOW");
        Ok(Response::Query(response))
    }

    async fn ask(&self, statement: &Statement, params: Params, format: &Format) -> PgWireResult<Response> {
        let asker = self.known()?;
        let mut line = Line::begin(self.asked(&statement.text), self.server.state.access.audit.clone());
        let cancelled = self.begin();
        let view = self.server.state.view.load_full();
        let running = self.server.state.engine.run_statement(&view, &asker, statement, params);
        let answer = tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(PgWireError::QueryCanceled),
            answer = running => answer.map_err(|error| of_query(&error)),
        };
        let answer = answer.and_then(|answer| Ok((Writer::new(&answer.schema(), format)?, answer)));
        match answer {
            Ok((writer, answer)) => {
                let fields = Arc::clone(&writer.fields);
                Ok(Response::Query(QueryResponse::new(fields, rows(answer.streamed(), writer, cancelled, line))))
            }
            Err(error) => {
                line.ended(&code_of(&error));
                Err(error)
            }
        }
    }

    fn params_of(portal: &Portal<Prepared>) -> PgWireResult<Params> {
        let described = portal.statement.statement.described.as_ref();
        let values = portal.parameters.iter().enumerate().map(|(index, bytes)| {
            let own =
                portal.statement.parameter_types.get(index).cloned().flatten().filter(|kind| *kind != Type::UNKNOWN);
            let wanted = described.and_then(|described| described.params.get(index)).and_then(Option::as_ref);
            let kind = own.or_else(|| wanted.map(type_of)).unwrap_or(Type::TEXT);
            params::value(bytes.as_deref(), &kind, portal.parameter_format.is_binary(index))
        });
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        Ok(if values.is_empty() { Params::None } else { Params::Positional(values) })
    }
}

/// `5000`, `5s`, `500ms`, `2min`; no limit for 0.
fn time(text: &str) -> Option<Option<std::time::Duration>> {
    let text = text.trim().to_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim() {
        "" | "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "min" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    Some((millis > 0).then(|| std::time::Duration::from_millis(millis)))
}

fn shown(name: &str, format: &Format) -> FieldInfo {
    let format = if format.is_binary(0) { FieldFormat::Binary } else { FieldFormat::Text };
    FieldInfo::new(name.to_owned(), None, None, Type::TEXT, format)
}

/// The rows of an answer. That rows are missing is an error: on this wire nothing else would tell.
fn rows(
    answer: Answer,
    writer: Writer,
    cancelled: CancellationToken,
    line: Line,
) -> impl Stream<Item = PgWireResult<DataRow>> + Send + 'static {
    let batches = stream::unfold(Some((answer, writer, cancelled, line)), |state| async move {
        let (mut answer, writer, cancelled, mut line) = state?;
        let next = tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(PgWireError::QueryCanceled),
            next = answer.next() => next.map_err(|error| of_query(&error)),
        };
        let written = match next {
            Ok(Some(batch)) => writer.rows(&batch),
            Ok(None) if answer.truncated() => Err(failure(
                "54000",
                format!("the answer has more than {} rows", answer.most_rows()),
                "add LIMIT, group, or narrow the time range",
            )),
            Ok(None) => {
                line.ended("ok");
                return None;
            }
            Err(error) => Err(error),
        };
        match written {
            Ok(rows) => {
                line.more(rows.len());
                let rows: Vec<PgWireResult<DataRow>> = rows.into_iter().map(Ok).collect();
                Some((rows, Some((answer, writer, cancelled, line))))
            }
            Err(error) => {
                line.ended(&code_of(&error));
                Some((vec![Err(error)], None))
            }
        }
    });
    batches.map(stream::iter).flatten()
}

/// The state of a transaction after a statement.
const fn after(kind: &Kind, status: TransactionStatus) -> TransactionStatus {
    match (kind, status) {
        (Kind::Commit | Kind::Rollback, _) => TransactionStatus::Idle,
        (Kind::Begin, TransactionStatus::Idle) => TransactionStatus::Transaction,
        (Kind::RollbackTo, TransactionStatus::Error) => TransactionStatus::Transaction,
        (_, status) => status,
    }
}

#[async_trait]
impl SimpleQueryHandler for Session {
    /// One after the other: what stands before a mistake is answered.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let statements = self.read(&query.query).await?;
        if statements.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for statement in &statements {
            let status = client.transaction_status();
            match self.answer(statement, Params::None, &Format::UnifiedText, status).await? {
                Response::Query(response) => send_query_response(client, response, true).await?,
                Response::Execution(tag) => send_execution_response(client, tag).await?,
                _ => {}
            }
            client.set_transaction_status(after(&statement.kind, status));
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, _client: &mut C, _query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(PgWireError::NotReadyForQuery)
    }
}

#[async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _client: &C, sql: &str, _types: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let session = self.0.as_ref().ok_or_else(|| failure("57P01", "the connection is ending", ""))?;
        let asker = session.known()?;
        let mut statements = session.read(sql).await?;
        let Some(statement) = statements.pop() else { return Ok(None) };
        if !statements.is_empty() {
            return Err(failure("42601", "cannot insert multiple commands into a prepared statement", ""));
        }
        let mut described = None;
        if statement.kind == Kind::Ask {
            let cancelled = session.begin();
            let view = session.server.state.view.load_full();
            let description = tokio::select! {
                biased;
                () = cancelled.cancelled() => Err(PgWireError::QueryCanceled),
                description = session.server.state.engine.describe(&view, &asker, &statement) => {
                    description.map_err(|error| of_query(&error))
                }
            };
            described = Some(description.inspect_err(|error| {
                let mut asked = session.asked(&statement.text);
                asked.outcome = code_of(error);
                session.server.state.access.audit.write(asked);
            })?);
        }
        Ok(Some(Prepared { statement, described }))
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        let params = prepared.described.iter().flat_map(|described| &described.params);
        Ok(params.map(|kind| kind.as_ref().map_or(Type::TEXT, type_of)).collect())
    }

    fn get_result_schema(&self, prepared: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        prepared.columns(format.unwrap_or(&Format::UnifiedText))
    }
}

#[async_trait]
impl ExtendedQueryHandler for Session {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        Arc::new(Parser(self.itself()))
    }

    /// Checks what is counted before anything looks at it by number.
    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        let given = message.parameters.len();
        let wrong = |what: String| failure("08P01", what, "");
        match client.portal_store().get_statement(name) {
            Some(Entry::Value(statement)) => {
                let columns = statement.statement.columns(&Format::UnifiedText)?.len();
                let wanted = statement.statement.described.as_ref().map_or(0, |described| described.params.len());
                let params = max(wanted, statement.parameter_types.len());
                if given != params || given > MOST_PARAMS {
                    let what = format!("bind message supplies {given} parameters, but the statement requires {params}");
                    return Err(wrong(what));
                }
                for (codes, count) in
                    [(&message.parameter_format_codes, given), (&message.result_column_format_codes, columns)]
                {
                    if codes.len() > 1 && codes.len() != count || codes.iter().any(|code| !(0..=1).contains(code)) {
                        return Err(wrong(format!("{} format codes for {count} values", codes.len())));
                    }
                }
                client.portal_store().put_portal(Arc::new(Portal::try_new(&message, statement)?));
            }
            Some(Entry::Empty) if given == 0 => client.portal_store().put_empty_portal(portal),
            Some(Entry::Empty) => return Err(wrong("parameters for an empty statement".to_owned())),
            None => return Err(PgWireError::StatementNotFound(name.to_owned())),
        }
        client.send(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    /// Rows go out as they come, also where all are asked for at once.
    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let most = usize::try_from(message.max_rows).unwrap_or(0);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
                client.set_state(PgWireConnectionState::ReadyForQuery);
                return Ok(());
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        let status = client.transaction_status();
        let (execution, mut tag) = (portal.state(), None);
        let mut execution = execution.lock().await;
        if matches!(*execution, PortalExecutionState::Initial) {
            match ExtendedQueryHandler::do_query(self, client, &portal, most).await? {
                Response::Query(response) => *execution = PortalExecutionState::Suspended(response),
                Response::Execution(done) => tag = Some(done),
                _ => {}
            }
        }
        match (&mut *execution, tag) {
            (_, Some(tag)) => send_execution_response(client, tag).await?,
            (PortalExecutionState::Suspended(response), None) => {
                if !send_partial_query_response(client, response, most).await? {
                    *execution = PortalExecutionState::Finished;
                }
            }
            (_, None) => send_execution_response(client, Tag::new("SELECT").with_rows(0)).await?,
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        client.set_transaction_status(after(&portal.statement.statement.statement.kind, status));
        Ok(())
    }

    async fn do_describe_portal<C>(
        &self,
        _client: &mut C,
        portal: &Portal<Prepared>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let columns = portal.statement.statement.columns(&portal.result_column_format)?;
        Ok(DescribePortalResponse::new(columns))
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, _max_rows: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let params = Self::params_of(portal)?;
        let statement = &portal.statement.statement.statement;
        self.answer(statement, params, &portal.result_column_format, client.transaction_status()).await
    }
}
