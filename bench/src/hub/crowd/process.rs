//! The process of the crowd: one thread, which looks after every client and takes orders meanwhile.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::client::{Client, News};
use super::order::{Join, Order, Report, Totals, Until, now};
use crate::measure::cpu_time;

/// Upgrades under way at once: fewer than the servers here let wait to be accepted. Connecting blocks, so
/// one that is not heard would hold up everybody.
const ARRIVING: usize = 256;
/// What is read at once.
const BUFFER: usize = 256 * 1024;
/// Events taken at once.
const EVENTS: usize = 1024;
/// Stands for orders among the places of clients.
const ORDERS: u64 = u64::MAX;

/// Looks after clients until there are no more orders.
///
/// # Errors
/// Whatever a server must not do to its clients.
pub(crate) fn attend() -> Result<()> {
    let mut crowd = Crowd::new()?;
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        crowd.wait(&mut events)?;
        for event in events.drain(..) {
            match event.data.u64() {
                ORDERS => {
                    if !crowd.take_orders()? {
                        return Ok(());
                    }
                }
                place => crowd.read(usize::try_from(place)?)?,
            }
        }
        crowd.bring_back()?;
        crowd.report_if_done()?;
    }
}

struct Crowd {
    epoll: OwnedFd,
    orders: File,
    /// A line whose end has not come.
    line: Vec<u8>,
    buffer: Vec<u8>,
    clients: Vec<Option<Client>>,
    totals: Totals,
    until: Until,
    /// Who is still to come: after which positions, and where to.
    coming: Option<Join>,
    /// Clients that are on their way.
    arriving: usize,
    /// Clients that have less than they are to get.
    behind: usize,
    /// Where those who are sent away come back to.
    follow: Option<u16>,
    returned: usize,
    /// Who comes back when.
    returns: BinaryHeap<Reverse<(Duration, usize)>>,
    task: Option<Task>,
}

/// An order that is not done.
struct Task {
    order: Order,
    began: Duration,
    cpu: Duration,
    before: Totals,
}

impl Crowd {
    fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let orders = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        let data = epoll::EventData::new_u64(ORDERS);
        epoll::add(&epoll, &orders, data, epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            orders,
            line: Vec::new(),
            buffer: vec![0; BUFFER],
            clients: Vec::new(),
            totals: Totals::default(),
            until: Until::Upgraded,
            coming: None,
            arriving: 0,
            behind: 0,
            follow: None,
            returned: 0,
            returns: BinaryHeap::new(),
            task: None,
        })
    }

    fn wait(&self, events: &mut Vec<epoll::Event>) -> Result<()> {
        let next = self.returns.peek();
        let left = next.map(|Reverse((due, _))| due.saturating_sub(now()));
        let left = left.map(Timespec::try_from).transpose()?;
        match epoll::wait(&self.epoll, spare_capacity(events), left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("wait for clients"),
        }
    }

    /// `false`: nobody gives orders any more.
    fn take_orders(&mut self) -> Result<bool> {
        let length = self.orders.read(&mut self.buffer)?;
        self.line.extend_from_slice(&self.buffer[..length]);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let order = serde_json::from_slice(&self.line[..end])?;
            self.line.drain(..=end);
            ensure!(self.task.is_none(), "an order before another is done");
            self.begin(order)?;
            self.report_if_done()?;
        }
        Ok(length > 0)
    }

    fn begin(&mut self, order: Order) -> Result<()> {
        self.task = Some(Task {
            order: order.clone(),
            began: now(),
            cpu: cpu_time(),
            before: self.totals,
        });
        match order {
            Order::Join(join) => {
                self.until = join.until.clone();
                self.coming = Some(join);
                self.let_in()?;
            }
            Order::Count(more) => {
                ensure!(!more.is_empty(), "an order to count nothing");
                let clients = self.clients.iter_mut().flatten();
                for (client, more) in clients.zip(more.iter().cycle()) {
                    client.expected += more;
                }
                let mut clients = self.clients.iter().flatten();
                ensure!(
                    clients.all(|client| client.received <= client.expected),
                    "more was received than was sent"
                );
                let clients = self.clients.iter().flatten();
                self.behind = clients
                    .filter(|client| client.received < client.expected)
                    .count();
            }
            Order::Follow(port) => self.follow = Some(port),
            Order::Return => {}
            Order::Leave => {
                for client in self.clients.drain(..).flatten() {
                    client.leave()?;
                }
            }
        }
        Ok(())
    }

    /// Lets clients in that wait for it, as many as may be under way.
    fn let_in(&mut self) -> Result<()> {
        while self.arriving < ARRIVING {
            let Some(join) = &mut self.coming else {
                return Ok(());
            };
            if join.clients == 0 {
                self.coming = None;
                return Ok(());
            }
            join.clients -= 1;
            let (place, port) = (self.clients.len(), join.port);
            let around = place.checked_rem(join.after.len());
            let after = around.map(|at| join.after[at].clone());
            let client = Client::connect(place, port)?.after(after.as_deref());
            self.clients.push(None);
            self.place(place, client)?;
        }
        Ok(())
    }

    fn place(&mut self, place: usize, client: Client) -> Result<()> {
        let data = epoll::EventData::new_u64(u64::try_from(place)?);
        epoll::add(&self.epoll, &client, data, epoll::EventFlags::IN)?;
        self.clients[place] = Some(client);
        self.arriving += 1;
        Ok(())
    }

    fn read(&mut self, place: usize) -> Result<()> {
        // Gone since the event was taken.
        let Some(client) = self.clients.get_mut(place).and_then(Option::as_mut) else {
            return Ok(());
        };
        let News {
            arrived,
            complete,
            gone,
        } = client
            .read(&mut self.buffer, &self.until, &mut self.totals)
            .with_context(|| format!("client {place}"))?;
        if complete {
            self.behind = self.behind.saturating_sub(1);
        }
        if arrived {
            self.arriving -= 1;
            self.let_in()?;
        }
        if let Some(away) = gone {
            let client = self.clients[place].as_ref().expect("it has just read");
            epoll::delete(&self.epoll, client)?;
            self.returns.push(Reverse((now() + away, place)));
        }
        Ok(())
    }

    /// Connects those whose time has come.
    fn bring_back(&mut self) -> Result<()> {
        while let Some(Reverse((due, place))) = self.returns.peek().copied() {
            if due > now() {
                break;
            }
            self.returns.pop();
            let Some(port) = self.follow else {
                bail!("a client was sent away that nobody told where to go");
            };
            let before = self.clients[place].take().expect("who was there returns");
            let client = Client::connect(place, port)?.instead_of(&before);
            self.returned += 1;
            self.place(place, client)?;
        }
        Ok(())
    }

    fn report_if_done(&mut self) -> Result<()> {
        let Some(task) = &self.task else {
            return Ok(());
        };
        let done = match task.order {
            Order::Join(_) => self.arriving == 0 && self.coming.is_none(),
            Order::Count(_) => self.behind == 0,
            Order::Return => self.arriving == 0 && self.returned == self.clients.len(),
            Order::Follow(_) | Order::Leave => true,
        };
        if !done {
            return Ok(());
        }
        if matches!(task.order, Order::Return | Order::Leave) {
            self.returned = 0;
        }
        let report = Report {
            began: task.began,
            ended: now(),
            cpu: cpu_time() - task.cpu,
            before: task.before,
            totals: self.totals,
        };
        self.task = None;
        let mut line = serde_json::to_vec(&report)?;
        line.push(b'\n');
        Ok(std::io::stdout().write_all(&line)?)
    }
}
