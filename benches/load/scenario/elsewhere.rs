//! Tasks that connected workers do: clients of this program that answer each task at once. As many are under way as a mailbox
//! takes events of anybody, and nobody may be refused.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::Result;
use crate::load::bench::Bench;
use crate::load::histogram::Histogram;
use crate::load::manager::{Manager, Status, tasks};
use crate::load::meter::{Cpu, median};
use crate::load::socket::Socket;
use crate::load::table::{Row, milliseconds, rate, thousands};

const WORKERS: usize = 50;
const CAPACITY: u32 = 20;
const TASKS: u64 = 100_000;
/// Only they do tasks of this type.
const KIND: &str = "elsewhere";
/// How often a worker without a task looks whether it is over.
const PATIENCE: Duration = Duration::from_millis(200);

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let server = bench.server()?;
    let (mut disk, mut rates, mut cores) = (Vec::new(), Vec::new(), Vec::new());
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        eprintln!("  round {round} of {}", bench.args.rounds);
        disk.push(bench.disk.sample()?);
        let mut manager = Manager::create(server.address, &format!("/{}", bench.label), &format!("elsewhere-{round}"))?;
        manager.scale(WORKERS * CAPACITY as usize)?;
        let cpu = Cpu::start(server.pid())?;
        let (status, latency) = one_round(manager, server.address)?;
        cores.push(cpu.cores()?);
        eprintln!("    {} tasks a second", thousands(status.rate()));
        rates.push(status.rate());
        p50.push(latency.milliseconds(0.5));
        p99.push(latency.milliseconds(0.99));
    }
    let look = median(p50);
    let all = median(rates);
    let (client, busy): (Vec<f64>, Vec<f64>) = cores.into_iter().unzip();
    let note = format!(
        "{} tasks in flight; fdatasync p50 {}; cores: client {:.2}, server {:.2}",
        WORKERS * CAPACITY as usize,
        milliseconds([median(disk)]),
        median(client),
        median(busy)
    );
    let row = Row::new(format!("tasks by {WORKERS} connected workers"), rate(all)).goal("≥ 5,000/s", all >= 5e3);
    bench.rows.push(row.note(note));
    let row = Row::new("  getBatchStatus meanwhile p50 / p99", milliseconds([look, median(p99)]));
    bench.rows.push(row.goal("p50 < 1 ms", look < 1.0));
    server.stop()
}

/// One batch; also how long looks at it took.
fn one_round(mut manager: Manager, address: SocketAddr) -> Result<(Status, Histogram)> {
    let over = AtomicBool::new(false);
    let open = |number| Socket::upgraded(address, &format!("{}/w{number}", manager.path));
    let sockets = (0..WORKERS).map(open).collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let workers: Vec<_> = sockets.into_iter().map(|socket| scope.spawn(|| work(socket, &over))).collect();
        let ended = manager.submit(&tasks(TASKS, KIND)).and_then(|(batch, _)| manager.watch(&batch, |_| Ok(())));
        over.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        ended
    })
}

/// Answers every task at once.
fn work(mut socket: Socket, over: &AtomicBool) -> Result<()> {
    socket.send_text(&format!(r#"{{"type":"ready","payload":{{"capacity":{CAPACITY},"types":["{KIND}"]}}}}"#))?;
    while !over.load(Ordering::Relaxed) {
        let answer = socket.next_text_within(PATIENCE, |text| {
            let frame: Value = serde_json::from_slice(text)?;
            let payload = &frame["payload"];
            Ok::<_, serde_json::Error>(match frame["type"].as_str() {
                Some("task") => Some(format!(
                    r#"{{"type":"result","payload":{{"taskId":{},"token":{},"success":true,"result":{}}}}}"#,
                    payload["taskId"], payload["token"], payload["data"]
                )),
                Some("error") => Some(String::new()),
                _ => None,
            })
        })?;
        match answer.transpose()?.flatten() {
            Some(error) if error.is_empty() => return Err("the server refused what a worker said".into()),
            Some(answer) => socket.send_text(&answer)?,
            None => {}
        }
    }
    Ok(())
}
