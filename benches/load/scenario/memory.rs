//! Memory of idle sockets on one path, and of objects with one socket each: the process's own, without what the kernel
//! holds for its sockets.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Result;
use crate::load::bench::Bench;
use crate::load::meter::{growth, memory, pause};
use crate::load::socket::{Socket, open_all};
use crate::load::table::{Row, thousands};
use crate::load::traffic::{INCREMENT, refuse_error};
use crate::load::{frame, objects};

/// Sockets that are open before the first measurement, so that what the first of everything costs is not counted: heaps of
/// threads, code that was never used.
const WARM_UP: usize = 500;
/// Time for a socket to become idle, whatever the server does about idle sockets.
const IDLE: Duration = Duration::from_secs(3);
/// Time to answer the last messages and to settle; far less than what makes an object hibernate.
const SETTLED: Duration = Duration::from_secs(1);
/// Time after which an object hibernates, and some more.
const ASLEEP: Duration = Duration::from_secs(13);

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if bench.args.url.is_some() {
        eprintln!("  left out: a server at --url has a process that cannot be seen");
        return Ok(());
    }
    idle_sockets(bench)?;
    objects_with_socket(bench)
}

fn bytes(number: f64) -> String {
    thousands(number) + " B"
}

fn idle_sockets(bench: &mut Bench) -> Result<()> {
    let path = format!("/{}/idle", bench.label);
    let raw = idle_growth(bench, bench.echo.address, bench.echo.pid(), &path)?;
    let process = bench.start(&bench.new_data_dir())?;
    let fleet = idle_growth(bench, process.address, process.pid(), &path)?;
    process.stop()?;
    let row = Row::new("memory of an idle socket", bytes(fleet.0))
        .raw(format!("echo {}", bytes(raw.0)))
        .ratio(fleet.0 / raw.0)
        .goal("≤ 4,096 B", fleet.0 <= 4_096.0)
        .note(format!("{} sockets on one path; anonymous {}", bench.args.sockets, bytes(fleet.1)));
    bench.rows.push(row);
    Ok(())
}

/// Bytes a socket, resident and anonymous.
fn idle_growth(bench: &Bench, address: SocketAddr, pid: u32, path: &str) -> Result<(f64, f64)> {
    let _warm = open_all(address, &vec![path.to_owned(); WARM_UP])?;
    let count = bench.args.sockets;
    let before = memory(pid)?;
    let mut sockets = open_all(address, &vec![path.to_owned(); count])?;
    pause(IDLE);
    let after = memory(pid)?;
    expect_open(&mut sockets)?;
    Ok((growth(before.resident, after.resident, count), growth(before.anonymous, after.anonymous, count)))
}

/// An error if the server has closed a socket: then it was not measured.
fn expect_open(sockets: &mut [Socket]) -> Result<()> {
    sockets.iter_mut().try_for_each(Socket::pump)
}

fn objects_with_socket(bench: &mut Bench) -> Result<()> {
    let count = bench.args.sockets;
    let process = bench.start(&bench.new_data_dir())?;
    let path = |number| format!("/{}/live/{number}", bench.label);
    let mut warm = open_all(process.address, &(count..count + WARM_UP).map(path).collect::<Vec<_>>())?;
    increment_each(&mut warm)?;
    let before = memory(process.pid())?;
    let began = Instant::now();
    let mut sockets = open_all(process.address, &(0..count).map(path).collect::<Vec<_>>())?;
    increment_each(&mut sockets)?;
    pause(SETTLED);
    let live = memory(process.pid())?;
    let active = objects::in_memory(process.address, "active")?;
    let took = began.elapsed().as_secs_f64();
    expect_open(&mut sockets)?;
    pause(ASLEEP);
    let asleep = memory(process.pid())?;
    let still_active = objects::in_memory(process.address, "active")?;
    expect_open(&mut sockets)?;
    process.stop()?;

    let each = growth(before.resident, live.resident, count);
    let row = Row::new("memory of a live object with a socket", bytes(each))
        .goal("≤ 8,192 B", each <= 8_192.0)
        .note(format!("{active} of {} objects live, {took:.1} s after the first", count + WARM_UP));
    bench.rows.push(row);
    let each = growth(before.resident, asleep.resident, count);
    let row = Row::new("memory of a hibernated object with a socket", bytes(each))
        .note(format!("{still_active} objects live"));
    bench.rows.push(row);
    Ok(())
}

/// Makes each object write, so that it has rows, and a state in memory.
fn increment_each(sockets: &mut [Socket]) -> Result<()> {
    let mut message = Vec::new();
    frame::masked(frame::TEXT, INCREMENT, &mut message);
    for socket in &mut *sockets {
        socket.stream.write_all(&message)?;
    }
    sockets.iter_mut().try_for_each(|socket| socket.next_text(refuse_error)?)
}
