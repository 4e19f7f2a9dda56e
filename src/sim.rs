//! A deterministic simulation of a server: real objects on real storage, with a made time, a seeded schedule, and faults.
//!
//! A simulation is a list of [`Step`]s (calls, messages of sockets, deletions, time that passes, crashes, commits that
//! fail, deliveries that are lost or come twice, full mailboxes) and a check that must hold at the end. The same seed does
//! the same again, to the last interleaving. When the check fails, the simulation looks for the shortest list of steps that
//! still fails, and says both.
//!
//! ```
//! use fleet::sim::{Simulation, Step};
//! use fleet::{Class, Error, RawValue, Turn, json, unknown_method};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Counter {
//!     count: u64,
//! }
//!
//! impl Class for Counter {
//!     const NAME: &'static str = "counter";
//!
//!     fn call(&mut self, _: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
//!         match method {
//!             "increment" => self.count += 1,
//!             "get" => {}
//!             other => return Err(unknown_method(other)),
//!         }
//!         json(&self.count)
//!     }
//! }
//!
//! for seed in 0..10 {
//!     Simulation::new(seed)
//!         .class::<Counter>()
//!         .steps(50, |random| match random.below(20) {
//!             0 => Step::Crash,
//!             1 => Step::CommitFails,
//!             2 => Step::Pass { ms: 15_000 },
//!             _ => Step::call("/a", "increment", ()),
//!         })
//!         .check(|world| {
//!             let answered = world.answers().count() as u64;
//!             let count = world.call("/a", "get", ())?.as_u64().unwrap_or(0);
//!             // What was acknowledged is there; what was not may be.
//!             if count < answered || count > world.asked() as u64 {
//!                 return Err(format!("{answered} increments were acknowledged, the count is {count}"));
//!             }
//!             Ok(())
//!         })
//!         .run();
//! }
//! ```
//!
//! # What is made and what is not
//! Turns, mailboxes, commits, the gate, hibernation, alarms and messages are those of the server. Made are the time (it
//! passes only when everybody waits), the randomness that classes get, the moment and the outcome of each commit, the
//! clients, and what [jobs](Simulation::job) and [requests](Simulation::http) answer. A crash loses what a crash loses: memory, sockets, and every write set that was not committed.

mod client;
mod life;
mod shrink;
mod step;
mod troubles;
mod world;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

pub use self::step::{Outcome, Step};
pub use self::world::World;
use crate::auth;
use crate::limits::SIM_SHRINKS;
use crate::object::{Class, Error, Http, Jobs, Registry, RegistryError};

/// Numbers that depend on nothing but the seed.
#[derive(Debug, Clone)]
pub struct Random(fastrand::Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// A number below a bound, each as likely as the other.
    ///
    /// # Panics
    /// The bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.u64(..bound)
    }

    /// Whether something happens that happens once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of several, each as likely as the other.
    ///
    /// # Panics
    /// There is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.0.usize(..of.len())]
    }
}

type Register = Arc<dyn Fn(&mut Registry) -> Result<(), RegistryError>>;
type Start = fn(&crate::metrics::Metrics) -> Result<Registry, RegistryError>;
type Check = dyn Fn(&World<'_>) -> Result<(), String>;

/// A simulation that is being set up: classes, steps, and what must hold.
///
/// Steps that are drawn and steps that are named can follow each other:
///
/// ```
/// # use fleet::{Class, Error, RawValue, Turn, json};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)] struct Counter { count: u64 }
/// # impl Class for Counter {
/// #     const NAME: &'static str = "counter";
/// #     fn call(&mut self, _: &mut Turn<'_>, _: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
/// #         self.count += 1;
/// #         json(&self.count)
/// #     }
/// # }
/// use fleet::sim::{Simulation, Step};
///
/// Simulation::new(7)
///     .class::<Counter>()
///     .step(Step::call("/a", "increment", ()))
///     .step(Step::Settle)
///     .step(Step::Crash)
///     .check(|world| match world.call("/a", "increment", ())?.as_u64() {
///         Some(2) => Ok(()),
///         other => Err(format!("{other:?}, not 2")),
///     })
///     .run();
/// ```
pub struct Simulation {
    seed: u64,
    auth: auth::Options,
    start: Option<Start>,
    register: Vec<Register>,
    jobs: Jobs,
    http: Http,
    steps: Vec<Step>,
    check: Option<Box<Check>>,
}

/// A simulation that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The seed that fails.
    pub seed: u64,
    /// What does not hold.
    pub reason: String,
    /// The shortest list of steps found that still fails.
    pub steps: Vec<Step>,
    /// How many steps there were at first.
    pub before: usize,
}

impl Simulation {
    /// A simulation without classes and steps.
    pub fn new(seed: u64) -> Self {
        let (auth, jobs, http) = (auth::Options::default(), Jobs::default(), Http::default());
        Self { seed, auth, start: None, register: Vec::new(), jobs, http, steps: Vec::new(), check: None }
    }

    /// Runs a simulation for each of several seeds.
    ///
    /// # Panics
    /// As [`Simulation::run`].
    pub fn seeds(seeds: Range<u64>, simulation: impl Fn(u64) -> Self) {
        seeds.for_each(|seed| simulation(seed).run());
    }

    /// Registers a class; the first is the class of every path that no `createAgent` gave another.
    #[must_use]
    pub fn class<C: Class>(mut self) -> Self {
        if self.start.is_none() {
            self.start = Some(Registry::new::<C>);
        } else {
            self.register.push(Arc::new(Registry::add::<C>));
        }
        self
    }

    /// Which tokens there are, as `[auth]` of a configuration says.
    #[must_use]
    pub fn auth(mut self, options: auth::Options) -> Self {
        self.auth = options;
        self
    }

    /// Registers a job, as [`Jobs::with`] does. What it waits with `tokio::time` is made time; to do the same again with the
    /// same seed it may depend on nothing but that and its input.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use fleet::json;
    /// use fleet::sim::Simulation;
    ///
    /// let simulation = Simulation::new(7).job("render", |input| async move {
    ///     tokio::time::sleep(Duration::from_secs(20)).await;
    ///     json(&input)
    /// });
    /// ```
    #[must_use]
    pub fn job<F>(mut self, name: &'static str, job: impl Fn(Box<RawValue>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<u8>, Error>> + Send + 'static,
    {
        self.jobs = self.jobs.with(name, job);
        self
    }

    /// Answers what objects ask of other servers; without it every request fails. As for [`Simulation::job`], time that it
    /// waits is made time.
    #[must_use]
    pub fn http<F>(mut self, answer: impl Fn(http::Request<Bytes>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<http::Response<Bytes>, Error>> + Send + 'static,
    {
        self.http = Http::new(answer);
        self
    }

    /// Adds steps that are drawn with the seed.
    #[must_use]
    pub fn steps(mut self, count: usize, mut draw: impl FnMut(&mut Random) -> Step) -> Self {
        let mut random = Random::new(self.seed);
        self.steps.extend((0..count).map(|_| draw(&mut random)));
        self
    }

    /// Adds one step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// What must hold at the end, when everything that was begun is finished.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&World<'_>) -> Result<(), String> + 'static) -> Self {
        self.check = Some(Box::new(check));
        self
    }

    /// Runs it.
    ///
    /// # Panics
    /// The check fails, or something is never answered. The message holds the seed and the shortest list of steps that
    /// still fails.
    pub fn run(self) {
        if let Err(failure) = self.try_run() {
            panic!("{failure}");
        }
    }

    /// Runs it, and hands back what fails.
    ///
    /// # Errors
    /// As [`Simulation::run`] panics.
    ///
    /// # Panics
    /// There is no class, or the classes cannot be registered together.
    pub fn try_run(self) -> Result<(), Failure> {
        let Err(reason) = self.attempt(&self.steps) else { return Ok(()) };
        let (steps, reason) =
            shrink::shortest(self.steps.clone(), reason, SIM_SHRINKS, |steps| self.attempt(steps).err());
        Err(Failure { seed: self.seed, reason, steps, before: self.steps.len() })
    }

    fn attempt(&self, steps: &[Step]) -> Result<(), String> {
        life::run(self, steps)
    }

    fn registry(&self, metrics: &crate::metrics::Metrics) -> Registry {
        let start = self.start.expect("a simulation needs a class");
        let register = |mut registry: Registry| {
            self.register.iter().try_for_each(|register| register(&mut registry))?;
            registry.check().map(|()| registry)
        };
        start(metrics).and_then(register).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, reason, steps, before } = self;
        writeln!(f, "seed {seed}: {reason}")?;
        writeln!(f, "the shortest of the {before} steps that still fail ({}):", steps.len())?;
        steps.iter().try_for_each(|step| writeln!(f, "    {step:?}"))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests;
