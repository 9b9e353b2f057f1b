//! Jobs that are queued at the times of a timetable: once for each time, however many instances see to it.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::firing::{Fired, Firing, check_schedule};
use super::handle::Queue;
use super::job::NewJob;
use super::options::JobOptions;
use super::push::Input;
use super::queues::{FIRE, SCHEDULES, UNSCHEDULE};
use super::timetable::Timetable;
use crate::backoff::Backoff;
use crate::clock::{Micros, after};
use crate::context::Attempt;
use crate::error::{Error, Result};

/// What comes later than this was missed: nobody was there to see to it.
const LATE: Duration = Duration::from_secs(60);
/// How long to sleep at most without asking the home what time it is.
const RECHECK: Duration = Duration::from_secs(60);
/// Between attempts that fail. A schedule does not give up.
const RETRY: Backoff = Backoff {
    initial: Duration::from_millis(100),
    factor: 2.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};

/// A schedule of a queue, as the home remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// The last time for which it has queued a job, or since when it is there.
    pub last: SystemTime,
}

impl<I, O> Queue<I, O> {
    /// Queues a job at each time of `timetable`, once it [runs](Schedule::run), with the input that `input` makes of that time.
    ///
    /// All instances may run it, and ought to: for each time, one of them queues the job, and the home remembers under `name`
    /// which time was the last. So there is no leader, and nobody's clock counts but the home's.
    ///
    /// A name has 1 to 128 letters, digits and `_ . / -`. Schedules of one queue with the same name are the same schedule.
    ///
    /// # Example
    /// ```
    /// # #[cfg(feature = "cron")] #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::queue::Timetable;
    /// use quorate::{CancellationToken, Fleet, JobOptions, QueueSpec};
    /// use std::time::SystemTime;
    ///
    /// const REPORTS: QueueSpec<SystemTime> = QueueSpec::new("reports");
    ///
    /// let reports = Fleet::embedded().queue(&REPORTS);
    /// let nights = Timetable::cron_in("0 3 * * *", "Europe/Berlin")?;
    /// let nightly = reports
    ///     .schedule("nightly", nights, |night| night)
    ///     .options(JobOptions::new().unique("nightly")); // not while the last one goes on
    ///
    /// let stop = CancellationToken::new();
    /// let running = tokio::spawn(nightly.run(stop.child_token()));
    /// stop.cancel();
    /// running.await.unwrap()?;
    /// # Ok(()) }
    /// # #[cfg(not(feature = "cron"))] fn main() {}
    /// ```
    pub fn schedule<F>(&self, name: &str, timetable: Timetable, input: F) -> Schedule<I, O, F>
    where
        F: Fn(SystemTime) -> I,
    {
        Schedule {
            queue: self.clone(),
            name: name.to_owned(),
            timetable,
            input,
            options: JobOptions::new(),
            catch_up: 1,
        }
    }

    /// The schedules of this queue that have run, in the order of their names.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>> {
        let (key, shared) = (self.key(&SCHEDULES)?, &self.shared);
        let look = |attempt: Attempt| shared.port.schedules(key, attempt.options());
        let found = shared.context.run(&SCHEDULES, key.name(), None, look);
        let view = |(name, last)| ScheduleView {
            name,
            last: time_of(last),
        };
        Ok(found.await?.into_iter().map(view).collect())
    }

    /// Forgets a schedule that nobody runs any more. Returns whether there was one. One that does run begins anew, and makes up for
    /// nothing.
    ///
    /// # Errors
    /// `InvalidInput` for a name that breaks the rule, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the schedule may or may not be forgotten.
    pub async fn unschedule(&self, name: &str) -> Result<bool> {
        let (key, shared) = (self.key(&UNSCHEDULE)?, &self.shared);
        let forget = |attempt: Attempt| shared.port.unschedule(key, name, attempt.options());
        let forgotten = shared.context.run(&UNSCHEDULE, key.name(), None, forget);
        forgotten.await
    }
}

/// A schedule about to run: options, then [`run`](Self::run).
#[must_use = "nothing is queued before it runs"]
pub struct Schedule<I, O, F> {
    queue: Queue<I, O>,
    name: String,
    timetable: Timetable,
    input: F,
    options: JobOptions,
    catch_up: u32,
}

/// How far a schedule has come.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// The last moment, by what the home says.
    last: Micros,
    /// What time it is there, and when we were told.
    now: Micros,
    at: Instant,
}

/// What comes next.
enum Next {
    /// This moment, now or later.
    At(Micros),
    Never,
}

impl<I, O, F> Schedule<I, O, F> {
    /// What holds for its jobs; before what the spec says.
    pub fn options(mut self, options: JobOptions) -> Self {
        self.options = options.or(self.options);
        self
    }

    /// How many times are made up for that came while nobody ran the schedule, the last ones. Default 1. A time that is over for
    /// less than a minute is not missed.
    pub const fn catch_up(mut self, times: u32) -> Self {
        self.catch_up = times;
        self
    }
}

impl<I, O, F> Schedule<I, O, F>
where
    I: Send + Sync + 'static,
    O: Send + Sync + 'static,
    F: Fn(SystemTime) -> I + Send + Sync,
{
    /// Queues jobs until `stop` fires, the fleet is closed, or the timetable has come to its end.
    ///
    /// # Errors
    /// `InvalidInput` for a name or an option that breaks its rule, an input that is too large, and a timetable that does not go on;
    /// `Encode` for an input that cannot be encoded. Never because of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, this instance sees to the schedule no more.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let key = self.queue.key(&FIRE)?;
        let named = |error: Error| error.with_operation(FIRE.name).with_target(key.name());
        check_schedule(&self.name).map_err(named)?;
        self.options.check().map_err(named)?;
        let context = &self.queue.shared.context;
        context.check_open()?;
        let run = async {
            let mut position = self.begin().await?;
            while let Next::At(moment) = self.next(&position).await? {
                position = self.advance(position, moment).await?;
            }
            Ok(())
        };
        tokio::select! {
            ran = run => ran.map_err(named),
            () = stop.cancelled() => Ok(()),
            () = context.closed().cancelled() => Ok(()),
        }
    }

    /// Where the schedule stands; from now on, if it was never there.
    async fn begin(&self) -> Result<Position> {
        let (fired, now, at) = self.fire(None, None, None).await?;
        let last = match fired {
            Fired::Other(Some(last)) => last,
            // It stands at this moment.
            _ => now,
        };
        Ok(Position { last, now, at })
    }

    /// The first moment for which a job is to be queued: of those that were missed, the last ones count.
    async fn next(&self, position: &Position) -> Result<Next> {
        let now = position.now.plus(position.at.elapsed());
        let (mut missed, mut last) = (VecDeque::new(), position.last);
        for count in 1_u64.. {
            let Some(moment) = self.timetable.next(time_of(last)) else {
                break;
            };
            let moment = moment_of(moment);
            if moment <= last {
                return Err(Error::invalid(
                    "timetable",
                    "must go on: each time is later than the one before",
                ));
            }
            if now.since(moment) <= LATE {
                missed.push_back(moment);
                break;
            }
            last = moment;
            missed.push_back(moment);
            if missed.len() > self.catch_up as usize {
                missed.pop_front();
            }
            // A year of minutes takes a while.
            if count % 1_000 == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(missed.pop_front().map_or(Next::Never, Next::At))
    }

    /// Waits for a moment, and queues its job if nobody else has.
    async fn advance(&self, mut position: Position, moment: Micros) -> Result<Position> {
        let wait = moment.since(position.now).min(RECHECK);
        tokio::time::sleep_until(after(position.at, wait)).await;
        let job = self.job(moment)?;
        let (fired, now, at) = self
            .fire(Some(position.last), Some(moment), Some(job))
            .await?;
        (position.now, position.at) = (now, at);
        match fired {
            Fired::Done(_) => position.last = moment,
            Fired::Other(Some(last)) => position.last = last,
            Fired::Other(None) => return self.begin().await,
            Fired::NotYet(_) => {}
        }
        Ok(position)
    }

    fn job(&self, moment: Micros) -> Result<NewJob> {
        let input = (self.input)(time_of(moment));
        Input::new(&self.queue.spec, &input)?.job(self.options.clone(), None)
    }

    /// Until it is answered. Says when that was asked for at the latest, too.
    async fn fire(
        &self,
        last: Option<Micros>,
        moment: Option<Micros>,
        job: Option<NewJob>,
    ) -> Result<(Fired, Micros, Instant)> {
        let firing = Firing {
            schedule: self.name.clone(),
            after: last,
            moment,
            job,
        };
        let (key, shared) = (self.queue.key(&FIRE)?, &self.queue.shared);
        let mut failures = 0;
        loop {
            let fire = |attempt: Attempt| shared.port.fire(key, &firing, attempt.options());
            match shared.context.run(&FIRE, key.name(), None, fire).await {
                Ok((fired, now)) => return Ok((fired, now, Instant::now())),
                Err(error) => shared.report(&error),
            }
            failures += 1;
            tokio::time::sleep(RETRY.delay(failures)).await;
        }
    }
}

impl<I, O, F> fmt::Debug for Schedule<I, O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("queue", &self.queue.name())
            .field("name", &self.name)
            .field("timetable", &self.timetable)
            .field("catch_up", &self.catch_up)
            .finish_non_exhaustive()
    }
}

fn time_of(moment: Micros) -> SystemTime {
    let since = Duration::from_micros(moment.get());
    // Who comes from the home fits.
    SystemTime::UNIX_EPOCH
        .checked_add(since)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Rounded up, so that the time itself is not behind it: a timetable may be finer than a home.
fn moment_of(time: SystemTime) -> Micros {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let micros = since.unwrap_or_default().as_nanos().div_ceil(1_000);
    Micros::new(u64::try_from(micros).unwrap_or(u64::MAX))
}
