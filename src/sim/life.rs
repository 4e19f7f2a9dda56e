//! From a start to a crash, and the next start: what drives a simulation.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::troubles::Troubles;
use super::world::World;
use super::{Outcome, Random, Simulation, Step};
use crate::auth::Auth;
use crate::clock::{Clock, Random as Entropy};
use crate::limits::{SIM_OBJECT_BYTES, SIM_OBJECTS, SIM_PATIENCE};
use crate::metrics::Metrics;
use crate::object::{Error, Namespace, Options, Services};
use crate::path::ObjectPath;
use crate::protocol::Code;
use crate::storage::{self, Fate, Stepper, Storage};

/// When a simulation begins, in milliseconds since the epoch: 2026-01-01.
const BEGIN: u64 = 1_767_225_600_000;

/// The longest pause of a busy disk, in microseconds, and of an idle one.
const SHORT_PAUSE: u64 = 3_000;
const LONG_PAUSE: u64 = 250_000;
/// Where files are kept in memory, if anywhere.
const MEMORY: &str = "/dev/shm";

type Outcomes = Arc<Mutex<Book>>;

/// What came of every call and deletion, by the number of its step.
#[derive(Default)]
struct Book {
    outcomes: BTreeMap<usize, Outcome>,
    /// How many are not answered yet.
    open: usize,
}

/// One that is not answered yet, for as long as it lives.
struct Open(Outcomes);

impl Open {
    fn new(outcomes: &Outcomes, index: usize) -> Self {
        let mut book = outcomes.lock();
        book.outcomes.insert(index, Outcome::Unknown);
        book.open += 1;
        Self(Arc::clone(outcomes))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
    }
}

/// One start of the server, until it dies.
pub(super) struct Life {
    pub(super) runtime: Runtime,
    pub(super) namespace: Namespace,
    disk: Arc<Mutex<Disk>>,
    troubles: Arc<Troubles>,
    began: Instant,
}

/// The moment and the outcome of every commit.
struct Disk {
    stepper: Stepper,
    random: Random,
    fate: Option<Fate>,
}

impl Disk {
    fn step(&mut self) {
        let most = 1 + usize::try_from(self.random.below(8)).unwrap_or(0);
        let fate = if self.stepper.waiting() > 0 { self.fate.take() } else { None };
        self.stepper.step(most, fate.unwrap_or(Fate::Durable));
    }
}

impl Life {
    fn start(data: &Path, seed: u64, elapsed: Duration, simulation: &Simulation) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime can be built");
        let context = runtime.enter();
        let metrics = Metrics::new();
        let options =
            storage::Options { data_dir: data.to_owned(), readers: 1, sync: false, ..storage::Options::default() };
        let (storage, stepper) = Storage::stepped(options, &metrics).expect("storage opens");
        let began = Instant::now();
        let before = BEGIN + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let troubles = Troubles::new(seed);
        let services = Services {
            clock: Clock::from_fn(move || before + u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)),
            random: Entropy::seeded(seed),
            auth: Auth::new(&simulation.auth),
            jobs: simulation.jobs.clone(),
            http: simulation.http.clone(),
            faults: troubles.faults(),
        };
        let limit = SIM_OBJECTS;
        let options = Options {
            children_per_object: limit,
            sockets_per_object: 1_000,
            storage_per_object: SIM_OBJECT_BYTES,
            objects: limit,
            sockets: 10_000,
        };
        let registry = simulation.registry(&metrics);
        let namespace = Namespace::new(storage.clone(), registry, options, metrics, services, &TaskTracker::new());
        runtime.spawn(namespace.hibernation());
        runtime.spawn(namespace.alarms());
        runtime.spawn(namespace.deliveries());
        let disk = Arc::new(Mutex::new(Disk { stepper, random: Random::new(seed ^ 0x00d1_5c00), fate: None }));
        runtime.spawn(spin(Arc::clone(&disk)));
        drop(context);
        Self { runtime, namespace, disk, troubles, began }
    }

    /// Waits for something that must not take for ever.
    pub(super) fn finish<T>(&self, what: impl Future<Output = T>) -> Result<T, String> {
        let waited = self.runtime.block_on(async { tokio::time::timeout(SIM_PATIENCE, what).await });
        waited.map_err(|_| format!("nobody answered within {SIM_PATIENCE:?}"))
    }

    fn elapsed(&self) -> Duration {
        let _context = self.runtime.enter();
        self.began.elapsed()
    }
}

/// The disk: commits come at odd moments, and few at a time. The longer there is nothing to do, the more seldom it looks:
/// otherwise looking would be most of what a simulation does.
async fn spin(disk: Arc<Mutex<Disk>>) {
    let mut longest = SHORT_PAUSE;
    loop {
        let pause = disk.lock().random.below(longest);
        tokio::time::sleep(Duration::from_micros(pause)).await;
        let mut disk = disk.lock();
        longest = if disk.stepper.waiting() > 0 { SHORT_PAUSE } else { LONG_PAUSE.min(longest * 2) };
        disk.step();
    }
}

/// A directory for the data, in memory where the system has a file system for that: nothing of it must outlive the process.
fn directory() -> std::io::Result<TempDir> {
    tempfile::tempdir_in(MEMORY).or_else(|_| tempfile::tempdir())
}

/// Runs the steps, then the check.
pub(super) fn run(simulation: &Simulation, steps: &[Step]) -> Result<(), String> {
    let seed = simulation.seed;
    let data = directory().map_err(|error| format!("no directory for the data: {error}"))?;
    let mut random = Random::new(seed ^ 0x5c4e_d01e);
    let outcomes = Outcomes::default();
    let clients = Mutex::new(BTreeMap::new());
    let (mut lives, mut elapsed) = (0, Duration::ZERO);
    let mut life = Life::start(data.path(), seed, elapsed, simulation);
    for (index, step) in steps.iter().enumerate() {
        if *step == Step::Crash {
            elapsed += life.elapsed();
            clients.lock().clear();
            // What was durable when it died need not have been told to anybody.
            if random.one_in(2) {
                life.disk.lock().step();
            }
            drop(life);
            lives += 1;
            life = Life::start(data.path(), seed.wrapping_add(lives), elapsed, simulation);
        } else {
            take(&life, index, step, &mut random, &outcomes, &clients)?;
        }
    }
    settle(&life, &outcomes)?;
    // A fault that nothing has met is not for the check.
    life.disk.lock().fate = None;
    life.troubles.forget();
    let Some(check) = &simulation.check else { return Ok(()) };
    let outcomes = outcomes.lock().outcomes.clone();
    check(&World { life: &life, steps, outcomes: &outcomes, clients: &clients })
}

fn take(
    life: &Life,
    index: usize,
    step: &Step,
    random: &mut Random,
    outcomes: &Outcomes,
    clients: &Mutex<BTreeMap<u32, Client>>,
) -> Result<(), String> {
    let with =
        |client: &u32, say: &mut dyn FnMut(&mut Client)| clients.lock().get_mut(client).into_iter().for_each(say);
    let yields = random.below(8);
    let context = life.runtime.enter();
    match step {
        Step::Call { path, method, payload } => {
            let (namespace, path, method) = (life.namespace.clone(), parse(path)?, method.clone());
            let payload: Box<RawValue> = to_raw_value(payload).map_err(|error| error.to_string())?;
            let call = async move {
                let answer = namespace.call(&path, &method, payload).await?;
                Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
            };
            life.runtime.spawn(note(call, index, outcomes));
        }
        Step::Delete { path } => {
            let (namespace, path) = (life.namespace.clone(), parse(path)?);
            let delete = async move { namespace.delete(&path).await.map(|()| Value::Null) };
            life.runtime.spawn(note(delete, index, outcomes));
        }
        Step::Connect { .. } | Step::Upgrade { .. } => connect(life, step, clients)?,
        Step::Send { client, text } => with(client, &mut |client| client.send(text)),
        Step::Read { client } => with(client, &mut Client::read),
        Step::Close { client, code } => with(client, &mut |client| client.close(*code)),
        Step::Vanish { client } => drop(clients.lock().remove(client)),
        Step::Lose => life.troubles.lose(),
        Step::Repeat => life.troubles.repeat(),
        Step::FullMailbox { path } => life.troubles.fill(parse(path)?),
        Step::CommitFails => {
            life.disk.lock().fate = Some(if random.one_in(2) { Fate::Lost } else { Fate::Applied });
        }
        Step::Pass { .. } | Step::Settle | Step::Crash => {}
    }
    drop(context);
    match step {
        Step::Pass { ms } => life.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(*ms)).await }),
        Step::Settle => settle(life, outcomes)?,
        // So the next step meets this one at any point.
        _ => life.runtime.block_on(async {
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
        }),
    }
    Ok(())
}

fn parse(path: &str) -> Result<ObjectPath, String> {
    ObjectPath::parse(path).map_err(|error| format!("{path}: {error}"))
}

/// Opens a client's socket.
fn connect(life: &Life, step: &Step, clients: &Mutex<BTreeMap<u32, Client>>) -> Result<(), String> {
    let (client, uri, headers) = match step {
        Step::Connect { client, path } => (client, path, &[][..]),
        Step::Upgrade { client, path, headers } => (client, path, &headers[..]),
        _ => return Ok(()),
    };
    let path = parse(uri.split('?').next().unwrap_or_default())?;
    let request = headers.iter().fold(http::Request::get(uri), |request, (name, value)| request.header(name, value));
    let request = request.body(()).map_err(|error| format!("{step:?}: {error}"))?;
    clients.lock().remove(client);
    if let Some(socket) = Client::open(&life.namespace, &path, request) {
        clients.lock().insert(*client, socket);
    }
    Ok(())
}

/// Notes what came of something: unknown until it is known.
fn note<F: Future<Output = Result<Value, Error>> + Send>(
    what: F,
    index: usize,
    outcomes: &Outcomes,
) -> impl Future<Output = ()> + Send + use<F> {
    let open = Open::new(outcomes, index);
    async move {
        let outcome = match what.await {
            Ok(answer) => Outcome::Answered(answer),
            Err(error) if error.code() == Code::CommitUnknown => Outcome::Unknown,
            Err(error) => Outcome::Refused(error.to_string()),
        };
        open.0.lock().outcomes.insert(index, outcome);
    }
}

/// Lets everything finish that was begun.
fn settle(life: &Life, outcomes: &Outcomes) -> Result<(), String> {
    life.finish(async {
        while outcomes.lock().open > 0 || life.disk.lock().stepper.waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}
