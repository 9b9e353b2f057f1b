//! Following a roster by its announcements: a pure function of what was read and heard. It yields exact
//! changes, or asks for another read.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::announcement::{Announcement, Change};
use super::member::{InstanceId, Member, PresenceEvent, Roster, RosterVersion};

/// A roster read in pages.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// The version before the first page.
    pub(super) first: RosterVersion,
    /// The version of the last page.
    pub(super) last: RosterVersion,
    /// Who was found. Whoever did not change in between is among them as he was.
    pub(super) members: Vec<Member>,
}

/// One watch's knowledge of a roster.
#[derive(Debug)]
pub(super) struct Follower {
    members: BTreeMap<InstanceId, BTreeMap<String, Bytes>>,
    version: RosterVersion,
    phase: Phase,
    /// The home is known to have got that far.
    known: Option<RosterVersion>,
    events: VecDeque<PresenceEvent>,
}

#[derive(Debug)]
enum Phase {
    /// The roster has to be read.
    Lost,
    /// It is being read; what is heard meanwhile is kept, unless something of it was lost.
    Reading { heard: Option<Vec<Announcement>> },
    /// It was read in pages, and is whole only at this version.
    Settling { until: u64 },
    /// What was told so far is the roster.
    Following,
}

impl Follower {
    pub(super) fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            version: RosterVersion::default(),
            phase: Phase::Lost,
            known: None,
            events: VecDeque::new(),
        }
    }

    /// What there is to tell.
    pub(super) fn next_event(&mut self) -> Option<PresenceEvent> {
        self.events.pop_front()
    }

    /// Whether a read should begin; then it is expected to.
    pub(super) fn begin_read(&mut self) -> bool {
        let lost = matches!(self.phase, Phase::Lost);
        if lost {
            let heard = Some(Vec::new());
            self.phase = Phase::Reading { heard };
        }
        lost
    }

    /// Announcements may be missing from here on.
    pub(super) fn lost(&mut self) {
        match &mut self.phase {
            Phase::Reading { heard } => *heard = None,
            phase => *phase = Phase::Lost,
        }
        self.known = None;
    }

    /// A read has ended.
    pub(super) fn scanned(&mut self, scan: Scan) {
        let Phase::Reading { heard } = std::mem::replace(&mut self.phase, Phase::Lost) else {
            return;
        };
        let Some(heard) = heard else {
            // What changed while it was read is not known.
            return;
        };
        self.known = None;
        self.version = scan.first;
        self.members.clear();
        for member in scan.members {
            let of = self.members.entry(member.instance).or_default();
            of.insert(member.id, member.info);
        }
        self.phase = Phase::Settling {
            until: scan.last.number,
        };
        self.settle();
        for announcement in heard {
            self.heard(announcement);
        }
    }

    /// An announcement arrived.
    pub(super) fn heard(&mut self, announcement: Announcement) {
        match &mut self.phase {
            Phase::Lost => return,
            Phase::Reading { heard } => {
                if let Some(heard) = heard {
                    heard.push(announcement);
                }
                return;
            }
            Phase::Settling { .. } | Phase::Following => {}
        }
        let (before, after) = (announcement.before, announcement.after());
        if before.epoch < self.version.epoch || after <= self.version {
            // From before what was read.
            return;
        }
        if before.epoch != self.version.epoch {
            // The first change of a roster that there was none of before, or else of one that was lost.
            if before.number != 0 || !self.members.is_empty() {
                return self.lost();
            }
            self.version = before;
        }
        if before != self.version || !self.apply(announcement) {
            return self.lost();
        }
        self.version = after;
        self.settle();
        if self.known.is_some_and(|known| known <= self.version) {
            self.known = None;
        }
    }

    /// The home says how far the roster has changed; `since` if it was asked after all that was heard.
    pub(super) fn known(&mut self, version: RosterVersion, since: bool) {
        if !matches!(self.phase, Phase::Settling { .. } | Phase::Following) {
            return;
        }
        if version > self.version {
            self.known = Some(version);
        } else if since && version < self.version {
            // It does not have what it announced: it was lost, or taken back.
            self.lost();
        }
    }

    /// Whether announcements are awaited that should have been here already: give them a moment, then call
    /// [`lost`](Self::lost).
    pub(super) fn is_behind(&self) -> bool {
        match self.phase {
            Phase::Lost | Phase::Reading { .. } => false,
            Phase::Settling { .. } => true,
            Phase::Following => self.known.is_some(),
        }
    }

    /// Whether the roster is whole: says so, once, after a read.
    fn settle(&mut self) {
        if let Phase::Settling { until } = self.phase
            && self.version.number >= until
        {
            self.phase = Phase::Following;
            self.events.push_back(PresenceEvent::Resync(self.roster()));
        }
    }

    fn roster(&self) -> Roster {
        let of = |(instance, members): (&InstanceId, &BTreeMap<String, Bytes>)| {
            let instance = *instance;
            let members = members.iter();
            let members = members.map(|(id, info)| Member::new(id, info.clone(), instance));
            members.collect::<Vec<_>>()
        };
        let members: Vec<_> = self.members.iter().flat_map(of).collect();
        Roster {
            version: self.version,
            count: members.len() as u64,
            members,
        }
    }

    /// `false`: it does not fit what is known.
    fn apply(&mut self, announcement: Announcement) -> bool {
        let Announcement {
            instance, changes, ..
        } = announcement;
        // While settling, members may be further than the version: then nothing can be said of them.
        let telling = matches!(self.phase, Phase::Following);
        let mut tell = |event| {
            if telling {
                self.events.push_back(event);
            }
        };
        for change in changes {
            match change {
                Change::Joined { id, info } => {
                    let of = self.members.entry(instance).or_default();
                    let member = Member::new(&*id, info.clone(), instance);
                    match of.insert(id, info) {
                        None => tell(PresenceEvent::Joined(member)),
                        Some(_) => tell(PresenceEvent::Updated(member)),
                    }
                }
                Change::Left { id } => {
                    let of = self.members.get_mut(&instance);
                    match of.and_then(|of| of.remove(&id)) {
                        Some(info) => tell(PresenceEvent::Left(Member::new(id, info, instance))),
                        None if telling => return false,
                        None => {}
                    }
                }
                Change::Gone { members } => {
                    let of = self.members.remove(&instance).unwrap_or_default();
                    if telling && of.len() as u64 != members {
                        return false;
                    }
                    for (id, info) in of {
                        tell(PresenceEvent::Left(Member::new(id, info, instance)));
                    }
                }
            }
        }
        if self.members.get(&instance).is_some_and(BTreeMap::is_empty) {
            self.members.remove(&instance);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::roster::{Removal, RosterState};
    use super::*;
    use crate::clock::Micros;

    type Model = BTreeMap<(InstanceId, String), Bytes>;

    const LEASE: Duration = Duration::from_secs(1);
    const NOW: Micros = Micros::new(1_000);

    #[derive(Clone, Debug)]
    enum Step {
        Join(usize, u8, u8),
        Leave(usize, u8),
        Gone(usize),
        /// The next announcement arrives, or is lost.
        Deliver,
        Lose,
        /// A gap: what is on the way is lost, and it is said so.
        Gap,
        /// The reader takes its next step: begins, reads one instance, ends.
        Read,
        Known,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let who = 0..3_usize;
        let step = prop_oneof![
            6 => (who.clone(), 0..5_u8, 0..3_u8).prop_map(|(a, b, c)| Step::Join(a, b, c)),
            3 => (who.clone(), 0..5_u8).prop_map(|(a, b)| Step::Leave(a, b)),
            1 => who.prop_map(Step::Gone),
            8 => Just(Step::Deliver),
            1 => Just(Step::Lose),
            1 => Just(Step::Gap),
            6 => Just(Step::Read),
            1 => Just(Step::Known),
        ];
        proptest::collection::vec(step, 1..120)
    }

    struct World {
        who: Vec<InstanceId>,
        roster: RosterState,
        /// The roster at each version it had.
        history: HashMap<RosterVersion, Model>,
        on_the_way: VecDeque<Announcement>,
        follower: Follower,
        reading: Option<(usize, Scan)>,
        /// What a user makes of the events.
        model: Option<Model>,
    }

    impl World {
        fn new() -> Self {
            let mut world = Self {
                who: (0..3).map(|_| InstanceId::random()).collect(),
                roster: RosterState::default(),
                history: HashMap::new(),
                on_the_way: VecDeque::new(),
                follower: Follower::new(),
                reading: None,
                model: None,
            };
            world.changed(None);
            world
        }

        fn changed(&mut self, announcement: Option<Announcement>) {
            let members = self.roster.page(NOW, &self.who, None).members;
            let members = members
                .into_iter()
                .map(|it| ((it.instance, it.id), it.info));
            let version = self.roster.look(NOW).version;
            self.history.insert(version, members.collect());
            self.on_the_way.extend(announcement);
        }

        fn read(&mut self) {
            let version = self.roster.look(NOW).version;
            match self.reading.take() {
                None => {
                    if self.follower.begin_read() {
                        let (first, last, members) = (version, version, Vec::new());
                        self.reading = Some((
                            0,
                            Scan {
                                first,
                                last,
                                members,
                            },
                        ));
                    }
                }
                Some((nth, mut scan)) if nth < self.who.len() => {
                    let page = self.roster.page(NOW, &self.who[nth..=nth], None);
                    scan.last = page.version;
                    // There was no roster when the read began: then it begins again.
                    if scan.first.epoch == page.version.epoch {
                        scan.members.extend(page.members);
                        self.reading = Some((nth + 1, scan));
                    } else {
                        let (first, last, members) = (page.version, page.version, Vec::new());
                        self.reading = Some((
                            0,
                            Scan {
                                first,
                                last,
                                members,
                            },
                        ));
                    }
                }
                Some((_, scan)) => self.follower.scanned(scan),
            }
        }

        fn step(&mut self, step: &Step) {
            let id = |id: u8| id.to_string();
            match *step {
                Step::Join(it, member, info) => {
                    let member = (id(member), Bytes::from(vec![info]));
                    let announced = self.roster.join(NOW, self.who[it], LEASE, &[member]).1;
                    self.changed(announced);
                }
                Step::Leave(it, member) => {
                    let announced = self.roster.leave(NOW, self.who[it], &[id(member)]).1;
                    self.changed(announced);
                }
                Step::Gone(it) => {
                    let announced = self.roster.remove(NOW, self.who[it], Removal::Now).1;
                    self.changed(announced);
                }
                Step::Deliver => {
                    if let Some(announcement) = self.on_the_way.pop_front() {
                        self.follower.heard(announcement);
                    }
                }
                Step::Lose => drop(self.on_the_way.pop_front()),
                Step::Gap => {
                    self.on_the_way.clear();
                    self.follower.lost();
                }
                Step::Read => self.read(),
                Step::Known => {
                    self.follower.known(self.roster.look(NOW).version, true);
                }
            }
            self.take_events();
        }

        fn take_events(&mut self) {
            let key = |it: &Member| (it.instance, it.id.clone());
            while let Some(event) = self.follower.next_event() {
                if let PresenceEvent::Resync(roster) = event {
                    assert_eq!(roster.count, roster.members.len() as u64);
                    let members = roster.members.into_iter();
                    self.model = Some(members.map(|it| (key(&it), it.info)).collect());
                    continue;
                }
                let model = self.model.as_mut().expect("the whole roster comes first");
                match event {
                    PresenceEvent::Joined(it) => {
                        assert_eq!(model.insert(key(&it), it.info), None);
                    }
                    PresenceEvent::Updated(it) => {
                        assert!(model.insert(key(&it), it.info).is_some());
                    }
                    PresenceEvent::Left(it) => {
                        assert_eq!(model.remove(&key(&it)), Some(it.info));
                    }
                    PresenceEvent::Resync(_) => unreachable!(),
                }
            }
            if matches!(self.follower.phase, Phase::Following) {
                let known = &self.history[&self.follower.version];
                assert_eq!(self.model.as_ref(), Some(known));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Whatever is interleaved or lost: what a user knows is the roster at the follower's version, and
        /// in the end it is the present one.
        #[test]
        fn what_is_told_is_the_roster_at_its_version(steps in steps()) {
            let mut world = World::new();
            for step in steps {
                world.step(&step);
            }
            while !world.on_the_way.is_empty() {
                world.step(&Step::Deliver);
            }
            for _ in 0..3 {
                for _ in 0..10 {
                    world.step(&Step::Read);
                }
                world.step(&Step::Known);
                if world.follower.is_behind() {
                    world.follower.lost();
                }
            }
            prop_assert!(matches!(world.follower.phase, Phase::Following));
            prop_assert_eq!(world.model.as_ref(), world.history.get(&world.roster.look(NOW).version));
        }
    }

    #[test]
    fn a_roster_that_was_lost_is_read_again() {
        let (instance, mut roster) = (InstanceId::random(), RosterState::default());
        let mut follower = Follower::new();
        let ada = [("ada".to_owned(), Bytes::new())];
        let (_, announced) = roster.join(NOW, instance, LEASE, &ada);
        assert!(follower.begin_read());
        let (first, members) = (RosterVersion::default(), Vec::new());
        follower.scanned(Scan {
            first,
            last: first,
            members,
        });
        follower.heard(announced.unwrap());
        follower.known(RosterVersion::default(), false);
        assert!(!follower.begin_read(), "asked before it was heard");
        follower.known(RosterVersion::default(), true);
        assert!(follower.begin_read(), "there is none, and we know a member");
        let scan = |version, members| Scan {
            first: version,
            last: version,
            members,
        };
        let known = vec![Member::new("ada", "", instance)];
        follower.scanned(scan(roster.look(NOW).version, known));
        let mut anew = RosterState::default();
        let (standing, announced) = anew.join(NOW.plus(LEASE), instance, LEASE, &ada);
        follower.heard(announced.unwrap());
        assert!(follower.begin_read(), "a later epoch begins");
        follower.scanned(scan(standing.version, Vec::new()));
        assert!(!follower.begin_read() && !follower.is_behind());
    }
}
