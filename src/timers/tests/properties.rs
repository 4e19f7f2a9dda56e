//! AL1 to AL4 under random histories: turns that succeed, fail or are lost in a crash, and a clock that only goes on.

use proptest::prelude::*;

use super::*;
use crate::limits::SCHEDULE_HISTORY;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    SetAlarm(u64),
    DeleteAlarm,
    Register(usize, Spec),
    Pause(usize),
    Resume(usize),
    RunNow(usize),
    Delete(usize),
    /// Handles everything that is due; the turns of handlers end like this.
    Fire(End),
    /// Ends what was left open.
    Finish,
    /// The turn so far is committed, undone, or lost with the server.
    Commit,
    Undo,
    Crash,
    Wait(u64),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Well,
    Badly,
    Open,
}

fn spec() -> impl Strategy<Value = Spec> {
    let cron = vec!["*/5 * * * * *", "* * * * *", "0 0 * * *", "30 2 * * SUN"];
    prop_oneof![
        (0..200_000_u64).prop_map(once),
        (1_000..100_000_u64).prop_map(every),
        prop::sample::select(cron).prop_map(|text| Spec::cron(text, "Europe/Berlin").unwrap()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        2 => (0..200_000_u64).prop_map(Step::SetAlarm),
        1 => Just(Step::DeleteAlarm),
        4 => (name.clone(), spec()).prop_map(|(name, spec)| Step::Register(name, spec)),
        1 => name.clone().prop_map(Step::Pause),
        1 => name.clone().prop_map(Step::Resume),
        1 => name.clone().prop_map(Step::RunNow),
        1 => name.prop_map(Step::Delete),
        6 => prop::sample::select(vec![End::Well, End::Badly, End::Open]).prop_map(Step::Fire),
        2 => Just(Step::Finish),
        4 => Just(Step::Commit),
        1 => Just(Step::Undo),
        1 => Just(Step::Crash),
        6 => (0..90_000_u64).prop_map(Step::Wait),
    ]
}

/// An object with its timers, its rows, and what it remembers of the last commit.
struct World {
    timers: Timers,
    disk: Disk,
    now: u64,
    random: u64,
}

impl World {
    fn commit(&mut self) {
        self.disk.commit(&mut self.timers);
        assert_eq!(view(&self.disk.load()), view(&self.timers), "rows round trip");
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        // Names need not exist: then nothing happens.
        match step {
            Step::SetAlarm(at) => self.timers.set_alarm(at).unwrap(),
            Step::DeleteAlarm => drop(self.timers.delete_alarm()),
            Step::Register(name, spec) => self.register(NAMES[name], &spec),
            Step::Pause(name) => drop(self.timers.pause(NAMES[name])),
            Step::Resume(name) => drop(self.timers.resume(NAMES[name], now)),
            Step::RunNow(name) => drop(self.timers.run_now(NAMES[name], now)),
            Step::Delete(name) => drop(self.timers.delete(NAMES[name])),
            Step::Fire(end) => self.fire(end),
            Step::Finish => {
                let open: Vec<_> =
                    self.timers.schedules().filter_map(|(name, s)| Some((name.to_owned(), s.running?))).collect();
                for (name, started) in open {
                    assert!(self.timers.finish(&name, started, now, Outcome::Done));
                }
            }
            Step::Commit => self.commit(),
            Step::Undo => {
                self.timers.undo();
                assert_eq!(view(&self.timers), view(&self.disk.load()), "undo restores exactly");
            }
            Step::Crash => self.timers = self.disk.load(),
            Step::Wait(ms) => self.now += ms,
        }
    }

    fn register(&mut self, name: &str, spec: &Spec) {
        self.timers.schedule(name, spec.clone(), self.now).unwrap();
        let first = view(&self.timers);
        self.timers.schedule(name, spec.clone(), self.now + 1).unwrap();
        assert_eq!(view(&self.timers), first, "registration is idempotent");
    }

    /// Gives everything that is due a turn of its own.
    fn fire(&mut self, end: End) {
        self.commit();
        let now = self.now;
        let due = self.timers.due(now);
        let times: Vec<_> = due.iter().map(|(Due::Alarm { at } | Due::Schedule { at, .. })| *at).collect();
        assert!(times.is_sorted() && times.iter().all(|at| *at <= now), "in order and never early");
        for one in due {
            match one {
                Due::Alarm { at } => self.fire_alarm(at, end),
                Due::Schedule { name, at } => self.fire_schedule(&name, at, end),
            }
            self.commit();
        }
        // At least once, and nothing twice: all of it was handled, and nothing is due at the same time again.
        assert_eq!(self.timers.due(now), []);
    }

    fn fire_alarm(&mut self, at: u64, end: End) {
        let fired = self.timers.fire_alarm(self.now).unwrap();
        assert_eq!((fired.at, self.timers.alarm()), (at, None));
        assert_eq!(self.disk.load().alarm(), Some(at), "its row outlasts its turn");
        if matches!(end, End::Badly) {
            self.timers.undo();
            match self.timers.retry_alarm(fired, self.now, self.random) {
                Retry::Waits(next) => {
                    let wait = 2_000 << fired.retry;
                    assert_eq!(next.retry, fired.retry + 1);
                    assert!((wait..=wait + wait / 4).contains(&(next.at - self.now)), "{next:?}");
                }
                Retry::Dropped => assert_eq!(fired.retry, 6),
                Retry::Replaced => panic!("nobody set another"),
            }
        }
    }

    fn fire_schedule(&mut self, name: &str, at: u64, end: End) {
        let mut tick = self.timers.begin(name, self.now).unwrap();
        assert_eq!(tick.due, at);
        assert_eq!(self.timers.begin(name, self.now), None, "it runs");
        let outcome = match end {
            End::Well => Outcome::Done,
            End::Badly => {
                self.timers.undo();
                tick = self.timers.begin(name, self.now).unwrap();
                Outcome::Failed("no")
            }
            End::Open => return,
        };
        assert!(self.timers.finish(name, tick.started, self.now, outcome));
    }

    fn check(&self) {
        let mut wakes: Vec<_> = self.timers.alarm().into_iter().collect();
        for (name, schedule) in self.timers.schedules() {
            assert!(schedule.history.len() <= SCHEDULE_HISTORY, "{name}");
            if schedule.running.is_none() {
                wakes.extend(schedule.asked);
                wakes.extend(schedule.next.filter(|_| !schedule.paused));
            }
        }
        let next = wakes.iter().min().copied();
        assert_eq!(self.timers.next_wake(), next, "the earliest of a recount");
        if let Some(next) = next {
            assert_eq!(self.timers.due(next - next.min(1)).is_empty(), next > 0, "never early");
            assert!(!self.timers.due(next).is_empty());
        }
    }
}

/// All that can be seen.
fn view(timers: &Timers) -> (Option<Alarm>, Vec<(String, Schedule)>) {
    let alarm = timers.0.as_ref().and_then(|inner| inner.alarm);
    (alarm, timers.schedules().map(|(name, schedule)| (name.to_owned(), schedule.clone())).collect())
}

proptest! {
    #[test]
    fn al1_to_al4_hold_in_every_history(steps in prop::collection::vec(step(), 0..80), random: u64) {
        let mut world = World { timers: Timers::default(), disk: Disk::default(), now: 0, random };
        for step in steps {
            world.step(step);
            world.check();
        }
    }

    #[test]
    fn al3_a_retry_waits_within_its_bounds(retry in 0..6_u32, now in 0..LATEST_MS - 100_000, random: u64) {
        let next = Alarm { at: now, retry }.after_failure(now, random).unwrap();
        let wait = 2_000_u64 << retry;
        prop_assert!((wait..=wait + wait / 4).contains(&(next.at - now)));
    }

    #[test]
    fn al4_the_next_tick_is_later_and_none_between_is_left_out(
        spec in spec(), now in 0..LATEST_MS / 4, later in 0..10_000_000_u64,
    ) {
        if let Some(tick) = spec.first(now) {
            prop_assert!(spec.is_once() || tick > now);
            let seen = tick.saturating_add(later);
            if let Some(next) = spec.next(tick, seen) {
                prop_assert!(next > seen);
                // One by one leads to the same tick.
                let mut step = tick;
                for _ in 0..20 {
                    if step > seen { break }
                    step = spec.next(step, step).unwrap();
                }
                prop_assert!(step <= seen || step == next);
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(expression in "[0-9*/,#LWa-z@? +-]{0,20}", zone in "[A-Za-z/_]{0,12}") {
        if let Ok(spec) = Spec::cron(&expression, &zone) {
            let text = serde_json::to_string(&spec).unwrap();
            prop_assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
        }
    }
}
