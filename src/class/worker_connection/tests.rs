//! A connection below a manager that writes down what it is told, in made time.

mod bunches;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::auth::{self, Secret, Token};
use crate::object::{Ask, Deferred, Scope, read};
use crate::path::{ObjectName, ObjectPath};
use crate::sim::{Random, Simulation, Step, World};

const SECRET: &str = "a secret that nobody guesses, as it is long";
/// When simulations begin, in seconds since the epoch.
const BEGIN: u64 = 1_767_225_600;

/// Writes down what it is told; refuses as often as it is to.
#[derive(Default, Serialize, Deserialize)]
struct Stub {
    told: Vec<(String, Value)>,
    refusals: u32,
    lost: Vec<String>,
    /// The method that is not answered before it is released, and the answers that are owed.
    held: Option<String>,
    owed: Vec<(Deferred, Value)>,
    /// Most results that it judges at once.
    judges: Option<usize>,
    /// What it has counted a result of.
    counted: Vec<String>,
}

impl Stub {
    /// A result counts once, and one of a token that begins with `stale` never does.
    fn judge(&mut self, results: &Value) -> Vec<Value> {
        let mut verdicts = Vec::new();
        for result in results.as_array().into_iter().flatten().take(self.judges.unwrap_or(usize::MAX)) {
            let token = result["token"].as_str().unwrap().to_owned();
            let accepted = !token.starts_with("stale") && !self.counted.contains(&token);
            verdicts.push(if accepted {
                json!({"accepted": true})
            } else {
                json!({"accepted": false, "reason": "stale"})
            });
            self.counted.extend(Some(token).filter(|_| accepted));
        }
        verdicts
    }
}

impl Class for Stub {
    const NAME: &'static str = "stub";
    const CHILDREN: Option<&'static str> = Some(WorkerConnection::NAME);

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let given: Value = read(payload)?;
        match method {
            "touch" => turn.put("touched", &true)?,
            "refuse" => self.refusals = read(payload)?,
            "lose" => self.lost = read(payload)?,
            "judges" => self.judges = read(payload)?,
            "hold" => self.held = Some(read(payload)?),
            "release" => {
                self.held = None;
                for (owed, answer) in self.owed.drain(..) {
                    turn.answer_deferred(&owed, json(&answer));
                }
            }
            "counted" => return json(&self.counted),
            "told" => return json(&self.told),
            "assign" | "cancelTasks" => {
                let worker = turn.path().child(&ObjectName::parse("w1").unwrap());
                turn.call(&worker, method, &given, Ask::new().in_memory())?;
            }
            _ => {
                assert!(matches!(turn.caller(), Caller::Object(path) if path.as_str() == "/w1"), "{method}");
                self.told.push((method.to_owned(), given.clone()));
                if self.refusals > 0 {
                    self.refusals -= 1;
                    let deferred = turn.defer()?;
                    turn.answer_deferred(&deferred, Err(Error::new(Code::Overloaded, "later")));
                    return json(&());
                }
                let answer = match method {
                    "workerReady" => json!({"heartbeatInterval": 5_000, "leaseTimeout": 15_000, "lost": self.lost}),
                    "workerResults" => json!({"verdicts": self.judge(&given["results"])}),
                    _ => json!({}),
                };
                if self.held.as_deref() == Some(method) {
                    self.owed.push((turn.defer()?, answer));
                    return json(&());
                }
                return json(&answer);
            }
        }
        json(&())
    }

    fn replied(&mut self, _: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let answer = reply.result.clone().map_or_else(|error| json!(error.to_string()), |json| read(json).unwrap());
        self.told.push(("answer".into(), answer));
        Ok(())
    }
}

fn simulation(seed: u64) -> Simulation {
    let touch = [Step::call("/", "touch", ()), Step::Settle];
    touch.into_iter().fold(Simulation::new(seed).class::<Stub>().class::<WorkerConnection>(), Simulation::step)
}

fn guarded(seed: u64) -> Simulation {
    let token = |token: &str, path: &str, scope| Token {
        token: Secret::new(token),
        path: ObjectPath::parse(path).unwrap(),
        scopes: vec![scope],
    };
    let tokens = vec![
        token("good", "/", Scope::Write),
        token("looks", "/", Scope::Read),
        token("elsewhere", "/w2", Scope::Admin),
    ];
    simulation(seed).auth(auth::Options { enabled: true, jwt_secret: Secret::new(SECRET), tokens })
}

fn connect(client: u32) -> Step {
    Step::Connect { client, path: "/w1".to_owned() }
}

#[expect(clippy::needless_pass_by_value, reason = "it is written in place")]
fn say(client: u32, kind: &str, payload: Value) -> Step {
    Step::Send { client, text: json!({"type": kind, "payload": payload}).to_string() }
}

#[expect(clippy::needless_pass_by_value, reason = "it is written in place")]
fn with_id(client: u32, kind: &str, payload: Value) -> Step {
    Step::Send { client, text: json!({"type": kind, "id": 1, "payload": payload}).to_string() }
}

fn ready(client: u32, capacity: u64) -> Step {
    say(client, "ready", json!({"capacity": capacity, "types": ["echo"]}))
}

fn task(number: u64) -> Value {
    json!({"taskId": format!("t{number}"), "attempt": 1, "token": format!("k{number}"), "type": "echo", "data": number,
           "deadline": 9_000_000_000_000_u64})
}

fn pass(ms: u64) -> Step {
    Step::Pass { ms }
}

fn frames(world: &World<'_>, client: u32) -> (Vec<Value>, Option<u16>) {
    let (frames, closed) = world.frames(client);
    (frames.iter().map(|frame| serde_json::from_str(frame).unwrap()).collect(), closed)
}

/// What the manager was told by one method.
fn told(world: &World<'_>, method: &str) -> Result<Vec<Value>, String> {
    let told: Vec<(String, Value)> = serde_json::from_value(world.call("/", "told", ())?).unwrap();
    Ok(told.into_iter().filter(|(by, _)| by == method).map(|(_, payload)| payload).collect())
}

/// The items of what the manager was told by one method.
fn told_items(world: &World<'_>, method: &str, items: &str) -> Result<Vec<Value>, String> {
    Ok(told(world, method)?.iter().flat_map(|told| told[items].as_array().unwrap().clone()).collect())
}

fn told_results(world: &World<'_>) -> Result<Vec<Value>, String> {
    told_items(world, "workerResults", "results")
}

fn acks(world: &World<'_>, client: u32) -> Vec<Value> {
    let acks = frames(world, client).0.into_iter().filter(|frame| frame["type"] == "ack");
    acks.map(|frame| frame["payload"].clone()).collect()
}

fn expect<T: PartialEq + std::fmt::Debug>(is: &T, expected: &T) -> Result<(), String> {
    if is == expected { Ok(()) } else { Err(format!("{is:?}, not {expected:?}")) }
}

/// Runs the steps, a few interleavings of them.
fn run(
    begin: fn(u64) -> Simulation,
    steps: impl IntoIterator<Item = Step>,
    check: impl Fn(&World<'_>) -> Result<(), String> + Clone + 'static,
) {
    let steps: Vec<_> = steps.into_iter().collect();
    Simulation::seeds(0..4, |seed| {
        steps.iter().cloned().chain([Step::Settle]).fold(begin(seed), Simulation::step).check(check.clone())
    });
}

#[test]
fn wc2_a_socket_that_does_not_say_who_it_is_is_closed_after_five_seconds() {
    for (ms, closed) in [(4_900, None), (5_100, Some(4401))] {
        run(guarded, [connect(1), pass(ms)], move |world| {
            expect(&frames(world, 1), &(vec![], closed))?;
            expect(&world.objects("/")?, &vec!["/".to_owned()])
        });
    }
}

#[test]
fn wc2_one_that_says_it_in_time_stays() {
    let steps = [connect(1), pass(4_000), with_id(1, "auth", json!({"token": "good"})), pass(60_000)];
    run(guarded, steps, |world| {
        expect(&frames(world, 1), &(vec![json!({"type": "result", "id": 1, "payload": null})], None))?;
        expect(&world.call("/w1", "status", ())?["connected"], &json!(true))
    });
}

#[test]
fn wc2_a_token_that_is_not_good_enough_closes_the_socket() {
    for (token, code) in [("bad", 4401), ("looks", 4403), ("elsewhere", 4403)] {
        run(guarded, [connect(1), with_id(1, "auth", json!({"token": token}))], move |world| {
            expect(&frames(world, 1), &(vec![], Some(code)))?;
            expect(&world.objects("/")?, &vec!["/".to_owned()])
        });
    }
}

#[test]
fn wc5_before_authentication_nothing_but_auth_is_taken() {
    for text in [
        r#"{"type":"ready","payload":{"capacity":1}}"#,
        r#"{"type":"status","id":1}"#,
        r#"{"type":"auth","id":1}"#,
        r#"{"type":"auth","id":1,"payload":"good"}"#,
        "nonsense",
    ] {
        let send = Step::Send { client: 1, text: text.to_owned() };
        let after = with_id(1, "auth", json!({"token": "good"}));
        run(guarded, [connect(1), send, after], |world| {
            expect(&frames(world, 1), &(vec![], Some(4401)))?;
            expect(&told(world, "workerReady")?, &vec![])
        });
    }
}

#[test]
fn wc2_a_token_that_expires_later_closes_its_socket_and_no_other() {
    let token = |seconds| {
        let claims = json!({"path": "/", "scopes": ["write"], "exp": BEGIN + seconds});
        json!({"token": auth::tests::jwt(&json!({"alg": "HS256"}), &claims, SECRET)})
    };
    let sockets = [connect(1), say(1, "auth", token(60)), connect(2), say(2, "auth", token(3_000)), ready(1, 1)];
    for (ms, closed) in [(59_000, None), (61_000, Some(4401))] {
        run(guarded, sockets.clone().into_iter().chain([pass(ms)]), move |world| {
            expect(&(frames(world, 1).1, frames(world, 2).1), &(closed, None))?;
            let sessions = if closed.is_none() { 2 } else { 1 };
            expect(&world.call("/w1", "status", ())?["sessions"], &json!(sessions))
        });
    }
    // A new token in time is as good as a new socket.
    let renewed = [connect(1), say(1, "auth", token(60)), pass(30_000), say(1, "auth", token(3_000)), pass(60_000)];
    run(guarded, renewed, |world| expect(&frames(world, 1).1, &None));
    let expired = [pass(61_000), connect(1), say(1, "auth", token(60))];
    run(guarded, expired, |world| expect(&frames(world, 1), &(vec![], Some(4401))));
}

#[test]
fn wc5_a_worker_says_what_it_takes_and_is_welcome() {
    run(simulation, [connect(1), ready(1, 2)], |world| {
        let welcome = json!({"type": "welcome",
            "payload": {"workerId": "w1", "heartbeatInterval": 5_000, "leaseTimeout": 15_000}});
        expect(&frames(world, 1).0, &vec![welcome])?;
        let ready = json!({"capacity": 2, "types": ["echo"], "running": [], "sessions": 1});
        expect(&told(world, "workerReady")?, &vec![ready])
    });
    for (payload, said) in [
        (json!({"capacity": 0}), "capacity is 0; it must be 1 to 1000"),
        (json!({"capacity": 1_001}), "capacity is 1001; it must be 1 to 1000"),
        (json!({"capacity": 1, "types": ["x".repeat(65)]}), "a type has 65 characters; the limit is 64"),
        (json!({"capacity": 1, "types": vec!["x"; 257]}), "there are 257 types; the limit is 256"),
        (json!({"types": []}), "invalid payload: missing field `capacity` at line 1 column 12"),
    ] {
        run(simulation, [connect(1), with_id(1, "ready", payload)], move |world| {
            let error = json!({"error": said, "code": "bad_request"});
            expect(&frames(world, 1).0, &vec![json!({"type": "error", "id": 1, "payload": error})])?;
            expect(&told(world, "workerReady")?, &vec![])
        });
    }
}

#[test]
fn wc5_a_worker_gets_no_more_than_its_capacity_and_its_newest_session_gets_it() {
    let assign = Step::call("/", "assign", json!({"tasks": [task(1), task(2), task(3)]}));
    let steps = [connect(1), ready(1, 5), connect(2), ready(2, 2), pass(1_000), assign];
    run(simulation, steps, |world| {
        let tasks = |client| {
            let (frames, _) = frames(world, client);
            frames.into_iter().filter(|frame| frame["type"] == "task").map(|frame| frame["payload"].clone()).collect()
        };
        expect::<Vec<_>>(&tasks(1), &vec![])?;
        expect(&tasks(2), &vec![task(1), task(2)])?;
        expect(&told(world, "answer")?, &vec![json!({"accepted": ["k1", "k2"]})])?;
        expect(&world.call("/w1", "status", ())?["currentTasks"], &json!(["t1", "t2"]))
    });
    // Nobody is there, or nobody has said what it takes.
    for steps in [vec![], vec![connect(1)]] {
        let assign = Step::call("/", "assign", json!({"tasks": [task(1)]}));
        run(simulation, steps.into_iter().chain([assign, pass(100)]), |world| {
            expect(&told(world, "answer")?, &vec![json!({"accepted": []})])
        });
    }
}

#[test]
fn wc5_a_result_is_told_until_it_is_taken_and_then_acknowledged() {
    let result = json!({"taskId": "t1", "token": "k1", "success": true, "result": {"a": [1]}});
    let told_result = result.clone();
    let steps = [
        connect(1),
        ready(1, 1),
        pass(1_000),
        Step::call("/", "assign", json!({"tasks": [task(1)]})),
        Step::Settle,
        Step::call("/", "refuse", 3),
        Step::Settle,
        say(1, "result", result),
        pass(2_000),
    ];
    run(simulation, steps, move |world| {
        expect(&told_results(world)?, &vec![told_result.clone(); 4])?;
        expect(&acks(world, 1), &vec![json!({"taskId": "t1", "token": "k1", "accepted": true})])?;
        expect(&world.call("/w1", "status", ())?["currentTasks"], &json!([]))
    });
}

#[test]
fn wc5_a_failure_of_any_shape_and_a_result_that_is_too_large_are_told() {
    let said = |error: Value| json!({"taskId": "t", "token": "k", "success": false, "error": error});
    for (sent, expected) in [
        (said(json!("no")), said(json!("no"))),
        (said(json!({"code": 5})), said(json!(r#"{"code":5}"#))),
        (said(json!(null)), json!({"taskId": "t", "token": "k", "success": false})),
        (
            json!({"taskId": "t", "token": "k", "success": true, "result": "x".repeat(1_040_383)}),
            said(json!("the result is 1040385 bytes; the limit is 1040384")),
        ),
    ] {
        run(simulation, [connect(1), ready(1, 1), say(1, "result", sent)], move |world| {
            expect(&told_results(world)?, &vec![expected.clone()])
        });
    }
}

#[test]
fn wc5_progress_is_told_one_at_a_time_and_the_newest_always() {
    let progress = |percent: u64| say(1, "progress", json!({"taskId": "t1", "token": "k1", "progress": percent}));
    let begin = [
        connect(1),
        ready(1, 1),
        pass(1_000),
        Step::call("/", "assign", json!({"tasks": [task(1)]})),
        Step::Settle,
        say(1, "progress", json!({"taskId": "t1", "token": "stale", "progress": 1})),
    ];
    run(simulation, begin.into_iter().chain((1..=20).map(progress)).chain([pass(1_000)]), |world| {
        let told = told_items(world, "workerProgress", "progress")?;
        let of = |progress: u64| json!({"taskId": "t1", "token": "k1", "progress": progress});
        expect(&(told.first(), told.last()), &(Some(&of(1)), Some(&of(20))))?;
        if told.iter().any(|told| told["token"] != "k1") { Err(format!("{told:?}")) } else { Ok(()) }
    });
}

#[test]
fn wc4_a_heartbeat_carries_metrics_that_are_not_too_large() {
    let beat = |payload| with_id(1, "heartbeat", payload);
    let steps = [
        connect(1),
        beat(json!({})),
        ready(1, 1),
        pass(1_000),
        beat(json!(null)),
        pass(1_000),
        beat(json!({"metrics": {"load": 0.5}})),
        pass(1_000),
        beat(json!({"metrics": "x".repeat(4_095)})),
        pass(1_000),
    ];
    run(simulation, steps, |world| {
        expect(&told(world, "workerHeartbeat")?, &vec![json!({}), json!({"metrics": {"load": 0.5}})])?;
        let errors = frames(world, 1).0.into_iter().filter(|frame| frame["type"] == "error");
        let errors: Vec<_> = errors.map(|frame| frame["payload"]["error"].clone()).collect();
        let large = json!("metrics are 4097 bytes; the limit is 4096");
        expect(&errors, &vec![json!("not ready: a heartbeat counts from `ready` on"), large])
    });
}

#[test]
fn wc5_what_is_cancelled_or_lost_the_worker_is_told() {
    let cancel = |task: &str, token: &str| json!({"type": "cancel", "payload": {"taskId": task, "token": token}});
    let steps = [
        connect(1),
        ready(1, 2),
        pass(1_000),
        Step::call("/", "assign", json!({"tasks": [task(1), task(2)]})),
        Step::Settle,
        Step::call("/", "cancelTasks", json!({"tokens": ["k1"]})),
        Step::Settle,
        Step::call("/", "lose", ["k2", "k3"]),
        Step::Settle,
        say(1, "ready", json!({"capacity": 2, "running": ["k2", "k3"]})),
    ];
    run(simulation, steps, move |world| {
        let cancels: Vec<_> = frames(world, 1).0.into_iter().filter(|frame| frame["type"] == "cancel").collect();
        let forgotten = json!({"type": "cancel", "payload": {"token": "k3"}});
        expect(&cancels, &vec![cancel("t1", "k1"), cancel("t2", "k2"), forgotten])?;
        expect(&told(world, "workerReady")?[1]["running"], &json!(["k2", "k3"]))?;
        expect(&world.call("/w1", "status", ())?["currentTasks"], &json!([]))
    });
}

#[test]
fn wc3_a_worker_is_gone_when_its_last_session_is() {
    let begin = [connect(1), ready(1, 1), pass(100), connect(2), ready(2, 3), pass(100)];
    // The newer one goes: the older one takes less.
    let one = [Step::Vanish { client: 2 }, pass(100)];
    run(simulation, begin.clone().into_iter().chain(one.clone()), |world| {
        let told_ready = told(world, "workerReady")?;
        let capacities: Vec<_> =
            told_ready.iter().map(|told| (told["capacity"].clone(), told["sessions"].clone())).collect();
        expect(&capacities, &vec![(json!(1), json!(1)), (json!(3), json!(2)), (json!(1), json!(1))])?;
        expect(&told(world, "workerGone")?, &vec![])?;
        expect(&world.call("/w1", "status", ())?["connected"], &json!(true))
    });
    let both = [Step::call("/", "refuse", 1), Step::Settle, Step::Vanish { client: 1 }, pass(1_000)];
    run(simulation, begin.into_iter().chain(one).chain(both), |world| {
        expect(&told(world, "workerGone")?.len(), &2)?;
        let status = world.call("/w1", "status", ())?;
        expect(&(status["connected"].clone(), status["sessions"].clone()), &(json!(false), json!(0)))?;
        let (on, off) = (status["lastConnectedAt"].as_u64(), status["lastDisconnectedAt"].as_u64());
        if on.is_some() && on < off { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn wc1_messages_reach_a_worker_in_order_also_those_that_waited_for_it() {
    let send = |message: Value, queue| Step::call("/w1", "send", json!({"message": message, "queue": queue}));
    let steps = [
        send(json!(1), true),
        Step::Settle,
        send(json!(null), true),
        Step::Settle,
        Step::Crash,
        send(json!({"three": 3}), true),
        Step::Settle,
        send(json!("lost"), false),
        Step::Settle,
        connect(1),
        Step::Settle,
        send(json!(4), true),
        Step::Settle,
        Step::call("/w1", "start", json!({"with": 1})),
        Step::Settle,
        Step::call("/w1", "stop", json!(null)),
        Step::Settle,
        connect(2),
    ];
    run(simulation, steps, |world| {
        let message = |message: Value| json!({"type": "message", "payload": {"message": message, "sender": ""}});
        let mut expected: Vec<_> = [json!(1), json!(null), json!({"three": 3}), json!(4)].map(message).into();
        expected.push(json!({"type": "start", "payload": {"with": 1}}));
        expected.push(json!({"type": "stop", "payload": null}));
        expect(&frames(world, 1).0, &expected)?;
        expect(&frames(world, 2).0, &vec![])?;
        let refused = |outcome: &&crate::sim::Outcome| matches!(outcome, crate::sim::Outcome::Refused(_));
        let refusals: Vec<_> = world.history().map(|(_, outcome)| outcome).filter(refused).collect();
        let offline = crate::sim::Outcome::Refused("offline: the worker /w1 is not connected".to_owned());
        expect(&refusals, &vec![&offline])
    });
}

#[test]
fn wc1_what_waits_for_a_worker_is_bounded() {
    let send = |message: String| Step::call("/w1", "send", json!({"message": message, "queue": true}));
    let large = (0..9).flat_map(|_| [send("x".repeat(1_000_000)), Step::Settle]);
    run(simulation, large.chain([connect(1)]), |world| {
        let outcomes: Vec<_> = world.history().map(|(_, outcome)| outcome).collect();
        let full = "queue full: 8 messages of 8000016 bytes wait for /w1; the limits are 1000 and 8388608";
        expect(&outcomes.last(), &Some(&&crate::sim::Outcome::Refused(full.to_owned())))?;
        expect(&frames(world, 1).0.len(), &8)
    });
}

#[test]
fn wc5_a_refused_call_takes_nothing_of_what_is_known_in_memory() {
    let steps = [
        connect(1),
        ready(1, 2),
        pass(1_000),
        Step::call("/", "assign", json!({"tasks": [task(1)]})),
        Step::Settle,
        Step::call("/w1", "nonsense", ()),
        Step::Settle,
        Step::call("/w1", "assign", json!({"tasks": [task(2)]})),
        Step::Settle,
        with_id(1, "cancelTasks", json!({"tokens": ["k1"]})),
        with_id(1, "nonsense", json!(null)),
        // And it does not sleep while its worker runs something.
        pass(300_000),
    ];
    run(simulation, steps, |world| {
        expect(&world.call("/w1", "status", ())?["currentTasks"], &json!(["t1"]))?;
        let errors = frames(world, 1).0.into_iter().filter(|frame| frame["type"] == "error");
        let codes: Vec<_> = errors.map(|frame| frame["payload"]["code"].clone()).collect();
        expect(&codes, &vec![json!("forbidden"), json!("not_found")])
    });
}

fn draw(random: &mut Random) -> Step {
    let client = u32::try_from(random.below(3)).unwrap();
    match random.below(12) {
        0 | 1 => connect(client),
        2 => Step::Vanish { client },
        3 | 4 => ready(client, 1 + random.below(4)),
        5 => Step::call("/", "assign", json!({"tasks": [task(random.below(6))]})),
        6 => say(client, "result", json!({"taskId": "t1", "token": format!("k{}", random.below(6)), "success": true})),
        7 => pass(random.below(15_000)),
        8 => Step::call("/", "refuse", random.below(3)),
        9 => Step::call("/w1", "nonsense", ()),
        10 => say(client, "heartbeat", json!({})),
        _ => Step::Read { client },
    }
}

#[test]
fn wc3_in_the_end_the_manager_knows_whether_the_worker_is_there() {
    Simulation::seeds(0..40, |seed| {
        simulation(seed).steps(60, draw).step(pass(5_000)).check(|world| {
            let told: Vec<(String, Value)> = serde_json::from_value(world.call("/", "told", ())?).unwrap();
            let state = told.iter().rfind(|(method, _)| method == "workerReady" || method == "workerGone");
            let status = world.call("/w1", "status", ())?;
            let connected = status["connected"] == json!(true);
            match state {
                Some((method, _)) if method == "workerGone" => {}
                Some((_, ready)) if connected && ready["capacity"].as_u64() >= Some(1) => {}
                None => {}
                other => return Err(format!("{other:?} is what it knows, and {status} is so")),
            }
            // Each result that was told was acknowledged or its sessions are gone.
            let mut given: BTreeMap<String, usize> = BTreeMap::new();
            for (method, payload) in &told {
                if method == "answer" {
                    for token in payload["accepted"].as_array().into_iter().flatten() {
                        *given.entry(token.to_string()).or_default() += 1;
                    }
                }
            }
            let current = status["currentTasks"].as_array().map_or(0, Vec::len);
            if current <= given.len() { Ok(()) } else { Err(format!("{status}: only {given:?} were given")) }
        })
    });
}
