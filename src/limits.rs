//! Every bound that is not a setting, in one place, with its unit in the name and its reason beside it.
//!
//! The bounds that an operator may set are in [`crate::config::Limits`].

use std::time::Duration;

/// Longest name of an object, in bytes: 32 hex digits (a UUID without dashes) fit.
pub const NAME_BYTES: usize = 32;
/// Longest path of an object, in bytes; longer is 414.
pub const PATH_BYTES: usize = 8_192;

/// Most events that wait for one object; beyond it requests are refused and tells dropped.
pub const MAILBOX_EVENTS: usize = 1_024;
/// Room in a mailbox beyond [`MAILBOX_EVENTS`] for what must not be refused: closes, deletions, runtime events. Each such
/// event is itself bounded by something else (one close per socket, one deletion per request).
pub const MAILBOX_RESERVED_EVENTS: usize = 65_536;
/// Most turns of one object that share one write set and one place in the scheduler before others get theirs.
pub const TURNS_PER_RUN: usize = 64;
/// A run of turns is cut after this long, so that its first effects do not wait for its last turn.
pub const RUN_TIME: Duration = Duration::from_micros(500);
/// A turn longer than this makes its class run where it cannot hold up other objects, and is logged.
pub const LONG_TURN: Duration = Duration::from_millis(20);
/// Workers of the runtime beyond one a core: so many turns may be long for the first time at once before others wait.
pub const SPARE_WORKERS: usize = 8;
/// It is looked this often for turns that do not end. One that is seen twice is logged, as at its end it never may be.
pub const ENDLESS_TURN: Duration = Duration::from_secs(10);
/// So many short turns in a row make a class that had a long one trusted again.
pub const WARY_TURNS: u32 = 64;
/// An object without an event for this long gives its memory back.
pub const HIBERNATE_AFTER: Duration = Duration::from_secs(10);
/// How many children a fan-out posts to before it lets others run.
pub const FAN_OUT_CHUNK: usize = 256;

/// Largest message, payload of a call or input of a job, encoded, in bytes (CO1).
pub const MESSAGE_BYTES: usize = 1 << 20;
/// Largest answer of one object or job to another object, in bytes: it is held in memory until it is handled.
pub const ANSWER_BYTES: usize = 16 << 20;
/// Messages and calls of one turn that go out behind its commit.
pub const ERRANDS_PER_TURN: usize = 10_000;
/// What may wait behind the commits of one object, beyond which its tells are dropped.
pub const ERRANDS: usize = 65_536;
/// Durable messages of one sender that wait to be handled (CO1).
pub const OUTBOX_MESSAGES: u64 = 10_000;
/// The same in bytes: as much as may wait for the writer, and not the 10 GB that so many of the largest would be.
pub const OUTBOX_BYTES: u64 = 64 << 20;
/// Inboxes that are told at once that messages wait, beside those that senders tell; others wait for one of these.
pub const INBOXES_AT_ONCE: usize = 1_024;
/// Inboxes that are remembered because they could not be read; with more, all are looked through.
pub const INBOXES_MISSED: usize = 4_096;
/// Messages of an inbox that are read and handled at once, before other events of the object get their turns.
pub const INBOX_MESSAGES: usize = 64;
/// How often it is looked for what could not be delivered at its time: inboxes, and answers that nobody gave.
pub const DELIVERY_TICK: Duration = Duration::from_secs(5);
/// Answers that one object may wait for (CO2): each is a row, and all are read when it wakes.
pub const PENDING: usize = 1_000;
/// Answers that one object may wait for in memory alone: with notes of the largest size they take 40 MB.
pub const IN_MEMORY_ASKS: usize = 10_000;
/// What an object may note with a question, in bytes: it is kept in memory until the answer comes.
pub const NOTE_BYTES: usize = 4 << 10;
/// Objects that are told at the start that nobody will answer them; others find out when they wake.
pub const INTERRUPTED: usize = 4_096;
/// How long a call waits for its answer unless it says otherwise (CO2).
pub const CALL_TIME: Duration = Duration::from_secs(30);
/// How long a job or an outbound request may take unless it is said otherwise (OB6).
pub const JOB_TIME: Duration = Duration::from_mins(1);
/// The longest that an answer may be waited for, or owed: what takes longer is a schedule's work.
pub const LONGEST_WAIT: Duration = Duration::from_hours(24);
/// Calls that one call may cause, one below the other (CO2).
pub const CALL_HOPS: u8 = 32;
/// Answers that one object may owe (CO2).
pub const DEFERRED: usize = 1_000;
/// How long an answer may be owed unless it is said otherwise.
pub const DEFERRED_TIME: Duration = Duration::from_mins(5);
/// Jobs and outbound requests that one object may have under way (OB6).
pub const JOBS_PER_OBJECT: usize = 256;
/// Jobs and outbound requests that a server may have under way (OB6).
pub const JOBS: usize = 4_096;

/// Largest write set of one run, in bytes: a run is committed as soon as it holds half of this.
pub const WRITE_SET_BYTES: usize = 16 << 20;
/// Largest write set of one run, in rows: a run is committed as soon as it holds half of this.
pub const WRITE_SET_ROWS: usize = 20_000;
/// Write sets that may wait for the writer, in bytes; no further turn starts while they exceed it.
pub const WRITER_QUEUE_BYTES: usize = 64 << 20;
/// Write sets that may wait for the writer; no further turn starts while they exceed it.
pub const WRITER_QUEUE_SETS: usize = 16_384;
/// Largest saved state of one object, in bytes.
pub const STATE_BYTES: usize = 2 << 20;
/// Messages of an inbox read at once, in bytes, unless a single one is larger.
pub const INBOX_BYTES: usize = 4 << 20;
/// Rows reaped of a deleted subtree in one commit, so that nobody waits long behind it.
pub const REAP_ROWS: usize = 1_000;
/// Bytes of states, values and messages reaped in one commit: large ones cost by the page, not by the row.
pub const REAP_BYTES: u64 = 1 << 20;
/// Rows of one group commit, before coalescing: about 30 ms of work at most, so that nobody waits long behind it.
pub const BATCH_ROWS: usize = 4_096;
/// Bytes of one group commit, unless a single write set is larger.
pub const BATCH_BYTES: usize = 8 << 20;
/// Objects that storage notes at once when it opens; what is above that, and what there is to note later, is a thread's.
pub const PRESENCE_OBJECTS: usize = 16_384;
/// Deleted subtrees waiting to be reaped: beyond it reaping goes before new commits.
pub const TOMBSTONES: usize = 16_384;
/// The write-ahead log is started over when this much of it is used.
pub const LOG_BYTES: u64 = 64 << 20;
/// Space kept back on the disk, so that deletes still work when it is full; a quarter of [`LOG_BYTES`], so that what
/// waits in the log can reach the database.
pub const RESERVE_BYTES: u64 = 16 << 20;
/// How long a start waits for the server that uses the data directory to end.
pub const LOCK_WAIT: Duration = Duration::from_secs(2);
/// Pages of the database given back to the file system in one commit.
pub const VACUUM_PAGES: u32 = 64;
/// Most items on one page of a list.
pub const PAGE_ITEMS: usize = 1_000;

/// The latest time of an alarm or schedule, in ms since the epoch (the year 9999 begins): a calendar can still express it
/// in every time zone.
pub const LATEST_MS: u64 = 253_370_764_800_000;
/// Tries of an alarm after the one that failed first; then it is dropped.
pub const ALARM_RETRIES: u32 = 6;
/// Wait before the first retry of an alarm, in ms; each further one waits twice as long.
pub const ALARM_RETRY_MS: u64 = 2_000;
/// What is added to that wait at most, in percent of it, so that alarms that failed together do not return together.
pub const ALARM_JITTER_PERCENT: u64 = 25;
/// Most schedules of one object: each is a row, and all are looked through for the next one.
pub const SCHEDULES: usize = 256;
/// Longest name of a schedule, in characters.
pub const SCHEDULE_NAME_CHARS: usize = 128;
/// Shortest interval of a schedule, in ms: that of cron, too. Each tick is a turn and a durable write.
pub const SCHEDULE_EVERY_MIN_MS: u64 = 1_000;
/// Longest interval of a schedule, in ms: 366 days. What is rarer has a date, and cron says it better.
pub const SCHEDULE_EVERY_MAX_MS: u64 = 366 * 86_400_000;
/// Longest cron expression, in bytes.
pub const CRON_BYTES: usize = 128;
/// Longest name of a time zone, in bytes; the longest of IANA's has 38.
pub const ZONE_BYTES: usize = 64;
/// Firings of a schedule that are remembered.
pub const SCHEDULE_HISTORY: usize = 16;
/// What is kept of the error of a firing, in bytes.
pub const SCHEDULE_ERROR_BYTES: usize = 256;

/// Objects that are told at once that something is due; others wait until one of these has had its turn.
pub const WAKES_AT_ONCE: usize = 1_024;
/// Due objects that are read at once.
pub const WAKE_CHUNK: usize = 256;
/// An object that has not handled what is due is told again after this long: its class could not start, its mailbox was
/// full, or its commit failed.
pub const WAKE_AGAIN: Duration = Duration::from_secs(10);
/// Longest wait before the clock is read again, which may have been set.
pub const WAKE_WAIT: Duration = Duration::from_mins(1);

/// Messages of one socket that may be unanswered before the edge stops reading it.
pub const SOCKET_UNANSWERED: usize = 256;
/// Answers to one socket that may be unwritten, in bytes, before the edge stops reading it.
pub const SOCKET_ANSWER_BYTES: usize = 1 << 20;
/// Frames caused by others that may wait for one socket; one more closes it with 1013.
pub const SOCKET_QUEUE_FRAMES: usize = 1_024;
/// Frames caused by others that may wait for one socket, in bytes; more closes it with 1013.
pub const SOCKET_QUEUE_BYTES: usize = 8 << 20;
/// Frames that a class sends to the socket that caused them and that may wait for it; from [`SOCKET_QUEUE_FRAMES`] on the
/// edge stops reading it, and one more than this (which a single turn must send) closes it with 1013.
pub const SOCKET_SENT_BACK_FRAMES: usize = 16_384;
/// The same in bytes, answers included; from [`SOCKET_ANSWER_BYTES`] on the edge stops reading it.
pub const SOCKET_SENT_BACK_BYTES: usize = 64 << 20;
/// Tags of one socket (WS2).
pub const SOCKET_TAGS: usize = 10;
/// Longest tag, in characters (WS2).
pub const SOCKET_TAG_CHARS: usize = 256;
/// Attachment of one socket, encoded (WS2).
pub const SOCKET_ATTACHMENT_BYTES: usize = 16 << 10;
/// Request and response of an automatic response, each (WS3).
pub const AUTO_RESPONSE_BYTES: usize = 2_048;
/// Reason of a close frame: what fits into a control frame (WS4).
pub const CLOSE_REASON_BYTES: usize = 123;
/// What is handed to a socket's transport before it is flushed, in bytes.
pub const SOCKET_FLUSH_BYTES: usize = 64 << 10;
/// Read buffer of a socket, in bytes: it stays resident while the socket is idle.
pub const SOCKET_READ_BYTES: usize = 1 << 10;
/// What is read of a socket at once, in bytes; what is not taken at once stays with it.
pub const SOCKET_AHEAD_BYTES: usize = 16 << 10;
/// A socket whose peer takes nothing for this long is closed.
pub const SOCKET_WRITE_STALL: Duration = Duration::from_secs(30);
/// How long a close frame waits for the peer's own.
pub const SOCKET_CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How long a worker's socket has to say who it is, in ms (WC2).
pub const AUTH_TIME_MS: u64 = 5_000;
/// Results of one worker that its connection holds until the manager has them: twice what it can run.
pub const REPORTS: usize = 2_000;
/// The same in bytes.
pub const REPORT_BYTES: usize = 64 << 20;
/// Results that a manager is told of at once, so that its turn stays short: each is a few rows, and is followed by a new task.
pub const RESULTS_TOLD: usize = 100;
/// Bytes of what a worker's connection tells its manager at once, unless a single piece of it is larger: half a message.
pub const REPORT_QUESTION_BYTES: usize = MESSAGE_BYTES / 2;
/// How long a manager may take to answer what it is told of a worker, in ms.
pub const REPORT_MS: u64 = 30_000;
/// Wait before a manager is told again what it did not take, in ms.
pub const REPORT_AGAIN_MS: u64 = 250;
/// A connection whose worker runs something looks around at least so often, in ms, so that it does not sleep.
pub const CONNECTION_LOOK_MS: u64 = 60_000;
/// Tasks that a connection remembers after they are over: as many as one reads.
pub const HISTORY_TASKS: usize = 20;
/// Characters that it remembers of an error.
pub const HISTORY_ERROR_CHARS: usize = 1_000;
/// Messages that wait for a worker which is away.
pub const QUEUED_MESSAGES: usize = 1_000;
/// The same in bytes: half of what one turn may send to a socket that it was caused by.
pub const QUEUED_MESSAGE_BYTES: usize = 8 << 20;

/// Time for a client to send a whole request head.
pub const REQUEST_HEAD_TIME: Duration = Duration::from_secs(10);
/// Time for a client to send a whole request body.
pub const REQUEST_BODY_TIME: Duration = Duration::from_secs(30);
/// Time for a client to send a body that only its class allows: 256 MiB at 1 MiB/s.
pub const LARGE_BODY_TIME: Duration = Duration::from_secs(256);
/// Such bodies at a time: with 256 MiB each they take 1 GiB of memory.
pub const LARGE_BODIES: usize = 4;
/// Longest idempotency key of a request, in bytes: the bound that those who use such keys agree on.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Largest request head, in bytes; larger is 431.
pub const REQUEST_HEAD_BYTES: usize = 64 << 10;
/// How often the counters of a class are sampled for what it did in the last minute.
pub const ACTIVITY_TICK: Duration = Duration::from_secs(5);
/// Samples that are kept of a class: those of a minute.
pub const ACTIVITY_SAMPLES: usize = 13;
/// Longest host name of an outbound request, in bytes: the bound of DNS.
pub const HOST_NAME_BYTES: usize = 253;
/// Largest head of an outbound request and of its response, in bytes.
pub const OUTBOUND_HEAD_BYTES: usize = 64 << 10;
/// Outbound requests that may wait for a place; one more is refused.
pub const OUTBOUND_WAITING: usize = 1_024;
/// Names looked up at a time: each takes a thread, which the system's resolver may keep for long.
pub const OUTBOUND_LOOKUPS: usize = 32;
/// Addresses of a name that are tried one after the other.
pub const OUTBOUND_ADDRESSES: usize = 4;
/// An address that does not take a connection for this long is given up for the next one.
pub const OUTBOUND_CONNECT_TIME: Duration = Duration::from_secs(5);

/// Longest token, in bytes: what fits into a header that most servers and proxies take.
pub const TOKEN_BYTES: usize = 8 << 10;
/// A secret for signing by HS256 that is shorter than this, in bytes, is warned of (RFC 7518, 3.2).
pub const JWT_SECRET_BYTES: usize = 32;

/// Descriptors kept free for files and for accepting a connection only to refuse it.
pub const RESERVED_DESCRIPTORS: u64 = 64;
/// Name of a class.
pub const CLASS_NAME_BYTES: usize = 64;
/// Key of a stored row (ST3).
pub const KEY_BYTES: usize = 2_048;
/// Value of a stored row, encoded (ST3).
pub const VALUE_BYTES: usize = 2 << 20;
/// Rows of one page of `list` (ST2).
pub const LIST_ROWS: usize = 1_000;
/// Values of one page of `list`; a page has at least one row.
pub const LIST_BYTES: usize = 16 << 20;
/// Rows that an object keeps in memory beside those that are not durable yet.
pub const ROW_CACHE_BYTES: usize = 1 << 20;
/// Gaps between the stored keys of one object that are remembered.
pub const KEY_GAPS: usize = 8;
/// Rows that are read when an object wakes.
pub const PREFETCH_ROWS: usize = 100;
/// Values that are read when an object wakes.
pub const PREFETCH_BYTES: usize = 64 << 10;
/// Longest id of a task, in characters.
pub const TASK_ID_CHARS: usize = 128;
/// Longest type of a task, in characters.
pub const TASK_TYPE_CHARS: usize = 64;
/// What an answer of a worker waits longer than the attempt's own time, in milliseconds.
pub const WORKER_MARGIN_MS: u64 = 1_000;
/// What is told of a response that is no success, in characters.
pub const TASK_ERROR_CHARS: usize = 256;
/// Longest id of a worker, in bytes: with a type it is in the key of a row.
pub const WORKER_ID_BYTES: usize = 1_024;
/// Results that a coordinator may store, in bytes: about ten million small ones.
pub const RESULT_STORAGE_BYTES: u64 = 16 << 30;
/// Results of a page that does not say how many, of a coordinator.
pub const RESULT_PAGE_ITEMS: usize = 100;
/// Results of a page, in bytes, unless a single one is larger: it is held in memory until it is sent.
pub const RESULT_PAGE_BYTES: usize = 4 << 20;

/// A server that does not take a command's connection for this long is not there.
pub const CLIENT_CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long a command waits for an answer.
pub const CLIENT_ANSWER_TIME: Duration = Duration::from_mins(1);
/// How long a command waits until a batch is taken: a million tasks are sent, checked and written first.
pub const CLIENT_SUBMIT_TIME: Duration = Duration::from_mins(15);
/// A server that is away for this long, while a command waits for a batch, is not coming back.
pub const CLIENT_PATIENCE: Duration = Duration::from_secs(30);
/// The first and the longest pause between two looks at a batch that a command waits for.
pub const CLIENT_LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Largest answer that a command reads, in bytes: a page of a thousand results fits.
pub const CLIENT_ANSWER_BYTES: usize = 256 << 20;
/// What a command reads of a file and sends at once, in bytes.
pub const CLIENT_PIECE_BYTES: usize = 64 << 10;
/// Longest line of a file of tasks, in bytes: more than a task may have.
pub const SUBMIT_LINE_BYTES: usize = 4 << 20;
/// Tasks that a command submits at once, encoded, in bytes: what the server takes.
pub const SUBMIT_BYTES: u64 = 256 << 20;
/// Tasks that a command holds in memory until it has read all of them, in bytes; more are in a temporary file.
pub const SUBMIT_MEMORY_BYTES: usize = 8 << 20;

/// Shorter lists of steps that a failed simulation tries.
pub const SIM_SHRINKS: usize = 400;
/// How long, in made time, a simulation waits for an answer before it says that there will be none.
pub const SIM_PATIENCE: Duration = Duration::from_mins(10);
/// How much later, in made time, a delivery comes a second time in a simulation: what was deleted or has slept in between
/// must not notice.
pub const SIM_REPEAT: Duration = Duration::from_secs(5);
/// Objects of a simulation, and children of one.
pub const SIM_OBJECTS: u64 = 1 << 20;
/// Bytes that one object of a simulation may store.
pub const SIM_OBJECT_BYTES: u64 = 128 << 20;

/// Tasks of one batch, unless its manager is told otherwise.
pub const BATCH_TASKS_DEFAULT: usize = 100_000;
/// Tasks of one batch at most: the numbers of tasks and results have seven digits.
pub const BATCH_TASKS: usize = 1_000_000;
/// Body of a request to a manager: a million tasks of 250 bytes.
pub const BATCH_BODY_BYTES: usize = 256 << 20;
/// What one manager may store: a million tasks of 16 KiB.
pub const MANAGER_BYTES: u64 = 16 << 30;
/// Data of a task, and its result, encoded, in bytes: each travels in one message, with some words around it.
pub const TASK_BYTES: usize = MESSAGE_BYTES - (8 << 10);
/// What is kept of the error of an attempt, in bytes.
pub const TASK_ERROR_BYTES: usize = 4 << 10;
/// Longest time of an attempt, in ms: that of an answer that is waited for.
pub const TASK_MS: u64 = 86_400_000;
/// Most retries of a task.
pub const TASK_RETRIES: u32 = 100;
/// Longest wait for a retry, or for somebody who handles a type, in ms: 30 days.
pub const TASK_WAIT_MS: u64 = 30 * 86_400_000;
/// Types of which tasks may be queued at one manager: each has its place in the manager's value.
pub const TASK_TYPES: usize = 256;
/// Attempts under way at one manager: each is held in memory, and most are jobs, of which the server has 4,096.
pub const WORKERS: u64 = 4_000;
/// Tasks that one connected worker may be given at once.
pub const WORKER_CAPACITY: u64 = 1_000;
/// Connected workers that one manager knows.
pub const WORKERS_KNOWN: usize = 10_000;
/// Metrics of a connected worker, encoded, in bytes.
pub const WORKER_METRICS_BYTES: usize = 4 << 10;
/// Types that a connected worker may name.
pub const WORKER_TYPES: usize = 256;
/// Longest interval of heartbeats, and longest lease, in ms.
pub const LEASE_MS: u64 = 3_600_000;
/// How long a connected worker has to say that it takes a task, in ms.
pub const ASSIGN_MS: u64 = 5_000;
/// Tasks that a connected worker is given in one call: their tokens are noted with it, in less than [`NOTE_BYTES`].
pub const ASSIGN_TASKS: usize = 100;
/// Bytes of the same, unless a single one is larger: half a message.
pub const ASSIGN_BYTES: usize = MESSAGE_BYTES / 2;
/// How long after its deadline an attempt in this process is given up of which no answer came, in ms: it was lost.
pub const ATTEMPT_GRACE_MS: u64 = 5_000;
/// Wait before a task is handed out again for which there was no room, in ms.
pub const NO_ROOM_MS: u64 = 250;
/// Rows of tasks that one turn stores, moves or removes: a good half of what it may write, as every task is one or two.
pub const STEP_ROWS: usize = 8_000;
/// Bytes of the same.
pub const STEP_BYTES: usize = 6 << 20;
/// Rows that one turn removes or looks through, so that nobody waits long behind it.
pub const SWEEP_ROWS: usize = 1_000;
/// Tasks that a call stores which must be answered in the same turn, as one over a WebSocket must.
pub const WHOLE_BATCH_TASKS: usize = 16_000;
/// Batches of one manager whose tasks are being stored at once.
pub const STAGINGS: usize = 16;
/// Bytes of such batches, which are held in memory meanwhile.
pub const STAGING_BYTES: usize = 512 << 20;
/// Answers of workers that one turn of a manager takes: its books are written once for all of them.
pub const ANSWERS: usize = 32;
/// Ranks of waiting tasks that are read at once, for each type.
pub const WINDOW_RANKS: usize = 256;
/// Places in the queue that are jumped to in one turn, over tasks that must not run.
pub const QUEUE_SEEKS: usize = 64;
/// Batches whose counters are kept in memory between turns.
pub const BATCHES_HELD: usize = 64;
/// Batches that have ended and may be kept.
pub const BATCHES_KEPT: u64 = 1_000_000;
/// Batches and workers that the state of a manager shows.
pub const STATE_BATCHES: usize = 20;
/// The same of workers.
pub const STATE_WORKERS: usize = 100;
/// Items of a page of a manager's lists, unless it is said otherwise.
pub const PAGE_ITEMS_DEFAULT: usize = 100;
/// Lists that are read for one page of tasks of a state which lie among others: at most 1,000 rows and 16 MiB each. More, and
/// the page comes with what there is.
pub const PAGE_LISTS: usize = 4;
/// Types that nobody handles, as the status of a batch tells them.
pub const UNHANDLED_SHOWN: usize = 10;
/// Task ids that may be named when failed tasks are submitted again.
pub const RESUBMIT_IDS: usize = 10_000;
/// Shortest time between two frames of progress of a batch, in ms (FM12).
pub const PROGRESS_MS: u64 = 100;
/// A manager with unfinished batches looks for what is due at least so often, in ms: so it is awake soon after a restart.
pub const PULSE_MS: u64 = 1_000;
/// Longest wait before it is looked again for tasks that nobody handles, in ms.
pub const UNHANDLED_LOOK_MS: u64 = 60_000;
/// Progress of a task that its worker reports, encoded, in bytes.
pub const TASK_PROGRESS_BYTES: usize = 1 << 10;
