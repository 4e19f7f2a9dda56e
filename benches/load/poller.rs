//! Readiness of many sockets: a thin layer over epoll, which `tokio` would add a task and two wake-ups to.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::Result;

/// Sockets that are looked at in one go.
const EVENTS: usize = 256;

/// Waits for sockets, which are named by their place in a list.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
    }

    pub(crate) fn add(&self, stream: &TcpStream, index: usize) -> Result<()> {
        epoll::add(&self.epoll, stream, token(index), epoll::EventFlags::IN)?;
        Ok(())
    }

    /// Also reports the socket when it can be written, or no longer.
    pub(crate) fn watch_writes(&self, stream: &TcpStream, index: usize, on: bool) -> Result<()> {
        let out = if on { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        epoll::modify(&self.epoll, stream, token(index), epoll::EventFlags::IN | out)?;
        Ok(())
    }

    /// The sockets that are ready, after `timeout` at most; into `ready`, which is reused.
    pub(crate) fn wait(&mut self, timeout: Duration, ready: &mut Vec<usize>) -> Result<()> {
        ready.clear();
        self.events.clear();
        let timeout =
            Timespec { tv_sec: i64::try_from(timeout.as_secs())?, tv_nsec: i64::from(timeout.subsec_nanos()) };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Err(error) if error != rustix::io::Errno::INTR => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let data = event.data;
            ready.push(usize::try_from(data.u64())?);
        }
        Ok(())
    }
}

fn token(index: usize) -> epoll::EventData {
    epoll::EventData::new_u64(index as u64)
}
