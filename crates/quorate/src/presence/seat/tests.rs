use proptest::prelude::*;

use super::*;
use crate::clock::Micros;
use crate::error::ErrorKind;
use crate::presence::RosterState;

const LEASE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
enum Step {
    Want(u8, u8),
    Unwant(u8),
    Wait(u16),
    /// The next job: is it carried out, and does its answer arrive?
    Run(bool, bool),
    /// Somebody removes us, as after our lease ended.
    Removed,
    /// The home loses everything.
    Lost,
    /// The home takes back what it has said since the last `Backup`.
    Backup,
    TakenBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..6_u8, 0..3_u8).prop_map(|(id, info)| Step::Want(id, info)),
        4 => (0..6_u8).prop_map(Step::Unwant),
        4 => (0..6_000_u16).prop_map(Step::Wait),
        8 => (prop::bool::weighted(0.8), prop::bool::weighted(0.8)).prop_map(|(a, b)| Step::Run(a, b)),
        1 => Just(Step::Removed),
        1 => Just(Step::Lost),
        1 => Just(Step::Backup),
        1 => Just(Step::TakenBack),
    ];
    proptest::collection::vec(step, 1..100)
}

struct World {
    own: InstanceId,
    seat: Seat,
    home: RosterState,
    backup: RosterState,
    wanted: BTreeMap<String, Bytes>,
    start: Instant,
    elapsed: Duration,
}

impl World {
    fn now(&self) -> (Instant, Micros) {
        let home = Micros::new(1_000).plus(self.elapsed);
        (self.start + self.elapsed, home)
    }

    /// What the home makes of a job.
    fn carry_out(&mut self, job: &Job) -> Standing {
        let (_, now) = self.now();
        match job {
            Job::Join(members, _) => self.home.join(now, self.own, LEASE, members).0,
            Job::Leave(ids, _) => self.home.leave(now, self.own, ids).0,
            Job::Renew => self.home.renew(now, self.own, LEASE),
            Job::Remove(instance, removal) => self.home.remove(now, *instance, *removal).0,
            Job::Look => unreachable!("nobody watches"),
        }
    }

    /// Runs the next job. `None`: there is none now, and this is when.
    fn run(&mut self, applied: bool, answered: bool) -> Option<Next> {
        let (asked, _) = self.now();
        let job = match self.seat.next(asked) {
            Next::Run(job) => job,
            other => return Some(other),
        };
        let standing = applied.then(|| self.carry_out(&job));
        let result = match standing {
            Some(standing) if answered => Ok(standing),
            None if answered => Err(Error::new(ErrorKind::Disconnected)),
            _ => Err(Error::new(ErrorKind::ConnectionLost).with_outcome(Outcome::Unknown)),
        };
        self.seat.done(job, asked, asked, result);
        None
    }

    fn there(&self) -> BTreeMap<String, Bytes> {
        let page = self.home.page(self.now().1, &[self.own], None);
        page.members
            .into_iter()
            .map(|it| (it.id, it.info))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is wanted, lost, repeated or taken back: once the home answers, it has what is wanted
    /// within one renewal.
    #[test]
    fn the_home_gets_what_is_wanted(steps in steps()) {
        let (own, start) = (InstanceId::random(), Instant::now());
        let mut world = World {
            own,
            seat: Seat::new(own, LEASE, start),
            home: RosterState::default(),
            backup: RosterState::default(),
            wanted: BTreeMap::new(),
            start,
            elapsed: Duration::ZERO,
        };
        for step in steps {
            match step {
                Step::Want(id, info) => {
                    let info = Bytes::from(vec![info]);
                    world.wanted.insert(id.to_string(), info.clone());
                    world.seat.want(&id.to_string(), info, 1);
                }
                Step::Unwant(id) => {
                    let known = world.wanted.remove(&id.to_string()).is_some();
                    prop_assert_eq!(world.seat.unwant(&id.to_string(), Some(1)), known);
                }
                Step::Wait(millis) => world.elapsed += Duration::from_millis(millis.into()),
                Step::Run(applied, answered) => drop(world.run(applied, answered)),
                Step::Removed => {
                    world.home.remove(world.now().1, own, Removal::Now);
                }
                Step::Lost => {
                    world.home = RosterState::default();
                    // A roster of that name is of a later epoch.
                    world.elapsed += Duration::from_millis(1);
                    world.backup = RosterState::default();
                }
                Step::Backup => world.backup = world.home.clone(),
                Step::TakenBack => world.home = world.backup.clone(),
            }
        }
        // One lease passes, and every job is carried out.
        let end = world.elapsed + LEASE;
        for _ in 0..100 {
            match world.run(true, true) {
                None => {}
                Some(Next::At(at)) if at - start <= end => world.elapsed = at - start,
                Some(_) => break,
            }
        }
        // What we know nothing of any more ends by itself.
        world.elapsed = end;
        world.home.remove(world.now().1, own, Removal::IfEnded);
        prop_assert_eq!(world.there(), world.wanted);
    }
}

#[test]
fn what_is_asked_for_at_once_travels_together_and_within_bounds() {
    let now = Instant::now();
    let mut seat = Seat::new(InstanceId::random(), LEASE, now);
    for number in 0..600 {
        seat.want(&format!("small {number:03}"), Bytes::new(), 1);
    }
    seat.want("a large one", Bytes::from(vec![0; MAX_BATCH_BYTES]), 1);
    let mut sizes = Vec::new();
    while let Next::Run(Job::Join(members, waiters)) = seat.next(now) {
        sizes.push(members.len());
        let mut standing = Standing::new(RosterVersion::new(1, 1));
        (standing.at, standing.members) = (Some(1), 601);
        standing.before = (sizes.len() > 1).then_some(1);
        seat.done(Job::Join(members, waiters), now, now, Ok(standing));
    }
    assert_eq!(sizes, [1, 256, 256, 88]);
}

#[test]
fn a_failure_is_reported_once_unless_somebody_hears_of_it() {
    let now = Instant::now();
    let mut seat = Seat::new(InstanceId::random(), LEASE, now);
    let lost = || Err(Error::new(ErrorKind::ConnectionLost));
    let mut reported = Vec::new();
    let mut waiting = None;
    for number in 0..3 {
        seat.want("ada", Bytes::new(), 1);
        if number == 0 {
            waiting = Some(seat.settled("ada", now));
        }
        let later = now + LEASE * number;
        let Next::Run(job) = seat.next(later) else {
            panic!("something is wanted")
        };
        reported.push(seat.done(job, later, later, lost()).report.is_some());
        if number == 0 {
            let heard = waiting.take().unwrap().try_recv().unwrap();
            assert_eq!(heard.unwrap_err().kind(), ErrorKind::ConnectionLost);
        }
    }
    assert_eq!(reported, [false, false, false]);
    let mut seat = Seat::new(InstanceId::random(), LEASE, now);
    seat.want("ada", Bytes::new(), 1);
    let Next::Run(job) = seat.next(now) else {
        panic!("something is wanted")
    };
    assert!(seat.done(job, now, now, lost()).report.is_some());
}
