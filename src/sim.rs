//! A deterministic simulation of a server: real objects on real storage, with a made time, a seeded schedule, and faults.
//!
//! A simulation is a list of [`Step`]s (calls, messages of sockets, deletions, time that passes, crashes, commits that
//! fail) and a check that must hold at the end. The same seed does the same again, to the last interleaving. When the
//! check fails, the simulation looks for the shortest list of steps that still fails, and says both.
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
//! passes only when everybody waits), the randomness that classes get, the moment and the outcome of each commit, and the
//! clients. A crash loses what a crash loses: memory, sockets, and every write set that was not committed.

mod client;
mod life;
mod shrink;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use self::life::Setting;
pub use self::life::World;
use crate::auth::{self, Auth};
use crate::limits::SIM_SHRINKS;
use crate::object::{Class, Registry, RegistryError};

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Somebody calls a method; the next steps do not wait for the answer.
    Call {
        /// The object.
        path: String,
        /// Its method.
        method: String,
        /// The payload.
        payload: Value,
    },
    /// Somebody deletes a subtree; the next steps do not wait for it.
    Delete {
        /// Its top.
        path: String,
    },
    /// A client opens a socket; if it had one, that one closes first.
    Connect {
        /// Which client.
        client: u32,
        /// The object.
        path: String,
    },
    /// A client sends a text frame over its socket, if it has one.
    Send {
        /// Which client.
        client: u32,
        /// The frame.
        text: String,
    },
    /// A client reads what has come; until then it reads nothing.
    Read {
        /// Which client.
        client: u32,
    },
    /// A client vanishes.
    Vanish {
        /// Which client.
        client: u32,
    },
    /// Time passes.
    Pass {
        /// Milliseconds.
        ms: u64,
    },
    /// Whatever was begun is finished.
    Settle,
    /// The next commit fails, with its outcome unknown.
    CommitFails,
    /// The process dies and starts anew on what was durable.
    Crash,
}

impl Step {
    /// A call of a method.
    ///
    /// # Panics
    /// The payload cannot be JSON.
    pub fn call<T: Serialize>(path: &str, method: &str, payload: T) -> Self {
        let payload = serde_json::to_value(payload).expect("a payload is JSON");
        Self::Call { path: path.to_owned(), method: method.to_owned(), payload }
    }

    /// A deletion.
    pub fn delete(path: &str) -> Self {
        Self::Delete { path: path.to_owned() }
    }
}

/// What came of a call or a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was acknowledged, with this answer (`null` for a deletion).
    Answered(Value),
    /// It was refused: nothing of it happened.
    Refused(String),
    /// Nobody knows: the commit failed with its outcome unknown, or the process died before it answered.
    Unknown,
}

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
        Self { seed, auth: auth::Options::default(), start: None, register: Vec::new(), steps: Vec::new(), check: None }
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
        let registry = |metrics: &_| self.registry(metrics);
        let setting = Setting { seed: self.seed, registry: &registry, auth: Auth::new(&self.auth) };
        life::run(&setting, steps, self.check.as_deref())
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
