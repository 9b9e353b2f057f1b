//! What a backend for queues must do.

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::ask::{Ask, Pushed, Removed, Renewed, Started, Turn};
use super::firing::{Fired, Firing};
use super::fsck::FsckPage;
use super::group::{Bring, Effect, GroupView};
use super::job::{JobId, JobState, LeaseNumber, NewJob};
use super::journal::{Append, Appended, JournalPage, ReadFrom};
use super::note::Note;
use super::view::{JobPage, JobPlace, JobView, QueueStats};
use crate::clock::Micros;
use crate::error::Result;
use crate::events::Channel;
use crate::key::{Key, Namespace};
use crate::port::CallOptions;
use crate::scan::{ScanCursor, ScanPage};

/// Where our own backends announce what happens in a queue.
pub(super) fn announcement(queue: &Key) -> Channel {
    Channel {
        name: queue.unit("queue", ":news").into(),
        sharded: true,
    }
}

/// Where our own backends tell what happens in a queue.
pub(super) fn events_channel(queue: &Key) -> Channel {
    Channel {
        name: queue.unit("queue", ":events").into(),
        sharded: true,
    }
}

/// A backend for queues.
///
/// # Contract
/// * A job is delivered again and again until a delivery is settled for good, it has been delivered as often as it may,
///   it was cancelled, or nobody began it in time. Nothing else ends it.
/// * A delivery counts until its lease has ended, by the backend's clock, or it was settled. One that counts no more settles
///   nothing and renews nothing. Of a job, one delivery counts at a time, and its lease number is greater than those of all
///   deliveries of the queue before it.
/// * A delivery whose lease ended counts as one that failed, at the next turn of anybody, as does one that was settled so; when
///   there have been as many as the job may have, it is dead. One that was deferred does not count. A cancelled job ends
///   where it would be delivered again.
/// * What is ready is delivered in turns of its [groups](NewJob::group), and within a group by age, but for the head start of
///   [urgent](NewJob::priority) jobs. What is due is ready when its time has come, at the next turn of anybody.
/// * `push` of an id that is known changes nothing and says so, for as long as it is kept what became of that job.
/// * Of all jobs with the same [key](NewJob::unique), one has it, as long as its [scope](super::UniqueScope) says; two pushes at once
///   queue one job. A push that finds it taken does as its own scope says, and is told who has it.
/// * `start` is a push whose job is delivered with it, as its first attempt, unless it is known, another has its key, it is due later,
///   or the queue is paused: then it is a push. Repeated, it says that the job is known, and who lost the reply has no delivery of it.
/// * A turn repeated by its worker, with the same number, within a minute, gets what the first was answered, of which deliveries
///   those that still count, and does nothing else. One with a smaller number than the last does nothing.
/// * Who gets less than it wants is idle for [`PARKED`](super::PARKED), and is woken by whatever makes work for it, one at a
///   time; who wants no more than it gets and leaves something wakes the next.
/// * The end of a job is announced if it was looked at with `wait` within [`AWAITED`](super::AWAITED) before it; being asked to
///   stop always is. [`News`](super::News) are on the channel named by `announced_on`.
/// * What is noted of a job is known as long as what becomes of it; its last checkpoint comes with each delivery from then on. Progress
///   is announced where the end would be.
/// * A list gives each job that stays where it is from its first page to its last once, and each at most once that does.
/// * A job that is removed leaves nothing behind but, of one that is over and not dead, its idempotency key for as long as that was
///   to be kept. A redriven job takes its key again if that is free.
/// * No more jobs are active, and none is begun sooner, than the [limits](super::QueueLimits) of the turn allow, whoever has the others. A
///   job whose group has no room is aside, in its order, and goes on when there is room, at the latest seconds after that, at the turn of
///   anybody who wants jobs; at once where that has no limits for groups.
/// * A paused queue delivers nothing. Everything else goes on.
/// * A job that succeeds and leaves [`Work`](super::Work) begins a group, unless it belongs to one; what it leaves belongs to the same. That it
///   ended and what it leaves is one step, as is that a member ends, whichever way, and that its group is to be told. A dead job that is
///   redriven belongs to none.
/// * [Effects](Effect) are kept until somebody says that they were performed, and handed out by turns and by `bring`, each to one at a
///   time for [`BRING_LEASE`](super::BRING_LEASE). A member ends once for its group, and is queued once, however often that is
///   [brought](Self::bring): what is said again changes nothing, also when the group is forgotten.
/// * A group is over when all its members have ended, of which those count that are not queued yet. Then it is kept as long as the result of its first
///   job, its end is announced if it was looked at with `wait` within [`AWAITED`](super::AWAITED) before it, and otherwise told to a worker
///   that takes groups, until one says that it was told.
/// * A moment of a schedule is fired once, when it has come by the backend's clock and after the one that `after` names; its job is
///   queued if and only if it is. What was fired last is known for [`KEEP_SCHEDULES`](super::KEEP_SCHEDULES) at least.
/// * What happens within [`WATCHED`](super::WATCHED) after a `watch` is told on the channel named by `told_on`, in [batches](super::EventBatch)
///   in their order, each numbered one more than the one before; of a job, in the order in which it happened. Where it was not told, a number
///   is left out. Unless there was a `watch`, nothing is told.
/// * Entries are [appended](Self::append) to the journal of a job by a delivery that counts, or not at all; an append that was done is
///   recognised when it is repeated. The first makes the next delivery come with a [checkpoint](super::Delivered::checkpoint), unless there is one.
///   Appending is progress: deliveries that failed before it do not count any more.
/// * A [message](Self::tell) for a job that is not over is in its inbox from then on, in the order in which they came, and makes its next delivery come
///   with a checkpoint, too. If somebody has the job it is announced; if the job is due and had a checkpoint, because it [waits](super::Settlement::Waiting) or is
///   to be tried again, it is ready at once, as is one that is settled as waiting and has messages that it has not seen. One that was only told
///   something before has not begun, and is not ready for that. A message that is told again is there again.
/// * Journal and inbox are kept as long as what becomes of the job, and go with it.
/// * What breaks a rule (more than [`MOST_AT_ONCE`](super::MOST_AT_ONCE) at once and the like) is refused before anything is
///   done.
/// * Every operation may be repeated when its reply was lost.
#[async_trait]
pub trait QueuePort: Debug + Display + Send + Sync + 'static {
    /// Queues jobs. Says of each what became of it.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn push(&self, queue: &Key, jobs: &[NewJob], options: CallOptions)
    -> Result<Vec<Pushed>>;

    /// Queues a job and delivers it at once to who pushes it, ahead of what waits. Says what became of it.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn start(
        &self,
        queue: &Key,
        job: &NewJob,
        lease: Duration,
        options: CallOptions,
    ) -> Result<Started>;

    /// Settles what a worker had, and gives it more.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn turn(&self, queue: &Key, ask: &Ask, options: CallOptions) -> Result<Turn>;

    /// Lets deliveries last for `lease` from now.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn renew(
        &self,
        queue: &Key,
        held: &[(JobId, LeaseNumber)],
        lease: Duration,
        options: CallOptions,
    ) -> Result<Vec<Renewed>>;

    /// Lets a job end that nobody has, and asks whoever has it to stop. Returns where it is then, `None` if there is none.
    ///
    /// # Errors
    /// Those of the backend.
    async fn cancel(
        &self,
        queue: &Key,
        id: JobId,
        options: CallOptions,
    ) -> Result<Option<JobState>>;

    /// Where a job is; `None` if there is none, or not any more. With `wait`, its end is announced if it comes soon.
    ///
    /// # Errors
    /// Those of the backend.
    async fn look(
        &self,
        queue: &Key,
        id: JobId,
        wait: bool,
        options: CallOptions,
    ) -> Result<Option<JobState>>;

    /// Notes something of a job. Returns whether this delivery of it still counts: if not, nothing was noted.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn note(
        &self,
        queue: &Key,
        id: JobId,
        lease: LeaseNumber,
        note: Note,
        options: CallOptions,
    ) -> Result<bool>;

    /// A job with all that is known of it; `None` if there is none, or not any more.
    ///
    /// # Errors
    /// Those of the backend.
    async fn inspect(
        &self,
        queue: &Key,
        id: JobId,
        options: CallOptions,
    ) -> Result<Option<JobView>>;

    /// Some of the jobs of a place, behind those of another page; fewer than `limit` also where they are large.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn list(
        &self,
        queue: &Key,
        place: JobPlace,
        after: Option<&ScanCursor>,
        limit: usize,
        options: CallOptions,
    ) -> Result<JobPage>;

    /// The queue in numbers.
    ///
    /// # Errors
    /// Those of the backend.
    async fn stats(&self, queue: &Key, options: CallOptions) -> Result<QueueStats>;

    /// Some of the queues of a namespace whose names begin with `prefix`.
    ///
    /// # Errors
    /// Those of the backend.
    async fn queues(
        &self,
        namespace: &Namespace,
        prefix: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScanPage>;

    /// Makes dead jobs ready again, as if they had never been delivered and for as long as it takes. Says of each whether it was
    /// dead.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn redrive(&self, queue: &Key, ids: &[JobId], options: CallOptions) -> Result<Vec<bool>>;

    /// The same of those that died first, so many at most. Returns how many they were.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn redrive_dead(&self, queue: &Key, most: usize, options: CallOptions) -> Result<usize>;

    /// Gives a job another input that waits or is dead. Returns whether there is such a one.
    ///
    /// # Errors
    /// Those of the backend.
    async fn edit(
        &self,
        queue: &Key,
        id: JobId,
        input: Bytes,
        options: CallOptions,
    ) -> Result<bool>;

    /// Takes jobs away that nobody has, with all that is known of them. What waited counts as cancelled.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn remove(
        &self,
        queue: &Key,
        ids: &[JobId],
        options: CallOptions,
    ) -> Result<Vec<Removed>>;

    /// The same of the first of a place, so many at most. Returns how many they were.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn purge(
        &self,
        queue: &Key,
        place: JobPlace,
        most: usize,
        options: CallOptions,
    ) -> Result<usize>;

    /// Looks at some of what the queue consists of, behind another page, for what does not belong together; and puts that right
    /// if it is asked to. It goes on meanwhile: from the first page to the last, whatever was wrong all the time is found.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn fsck(
        &self,
        queue: &Key,
        from: Option<&ScanCursor>,
        repair: bool,
        options: CallOptions,
    ) -> Result<FsckPage>;

    /// Queues what a schedule says for a moment, if that is the next one and has come. Says, too, what time it is by the clock of the
    /// home.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn fire(
        &self,
        queue: &Key,
        firing: &Firing,
        options: CallOptions,
    ) -> Result<(Fired, Micros)>;

    /// The schedules of the queue and the last moment of each, in the order of their names.
    ///
    /// # Errors
    /// Those of the backend.
    async fn schedules(&self, queue: &Key, options: CallOptions) -> Result<Vec<(String, Micros)>>;

    /// Forgets a schedule. Returns whether there was one.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn unschedule(&self, queue: &Key, name: &str, options: CallOptions) -> Result<bool>;

    /// Whether jobs are delivered.
    ///
    /// # Errors
    /// Those of the backend.
    async fn pause(&self, queue: &Key, paused: bool, options: CallOptions) -> Result<()>;

    /// Brings to a queue what happened elsewhere, and takes more to do from it.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn bring(&self, queue: &Key, bring: &Bring, options: CallOptions) -> Result<Vec<Effect>>;

    /// A group that began in this queue; `None` if there is none, or not any more. With `wait`, its end is announced if it comes soon.
    ///
    /// # Errors
    /// Those of the backend.
    async fn look_group(
        &self,
        queue: &Key,
        group: JobId,
        wait: bool,
        options: CallOptions,
    ) -> Result<Option<GroupView>>;

    /// Has told what happens from now on, for a while. Returns the number of the last [batch](super::EventBatch) before that.
    ///
    /// # Errors
    /// Those of the backend.
    async fn watch(&self, queue: &Key, options: CallOptions) -> Result<u64>;

    /// Writes into the journals of jobs. Says of each what became of it.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, and those of the backend.
    async fn append(
        &self,
        queue: &Key,
        appends: &[Append],
        options: CallOptions,
    ) -> Result<Vec<Appended>>;

    /// Some of the journal and the inbox of a job, behind what is known; `None` if there is no such job, or not any more.
    ///
    /// # Errors
    /// Those of the backend.
    async fn read(
        &self,
        queue: &Key,
        id: JobId,
        from: ReadFrom,
        options: CallOptions,
    ) -> Result<Option<JournalPage>>;

    /// Puts a message into the inbox of a job, unless that is over. Returns where it is then, `None` if there is none, or not any more.
    ///
    /// # Errors
    /// `InvalidInput` with the field and the rule, also if there are [as many](super::MOST_MESSAGES) as there may be, and those of the backend.
    async fn tell(
        &self,
        queue: &Key,
        id: JobId,
        message: Bytes,
        options: CallOptions,
    ) -> Result<Option<JobState>>;

    /// Makes a dead job ready again that remembers only the first entries of its journal. Returns whether there is such a one.
    ///
    /// # Errors
    /// `InvalidInput` if the journal has fewer, and those of the backend.
    async fn rewind(
        &self,
        queue: &Key,
        id: JobId,
        entries: u64,
        options: CallOptions,
    ) -> Result<bool>;

    /// Where what happens is announced; `None` if it is not, so that waiting means asking again.
    fn announced_on(&self, queue: &Key) -> Option<Channel>;

    /// Where it is told what happens in a queue that is [watched](Self::watch); `None` if it never is.
    fn told_on(&self, queue: &Key) -> Option<Channel>;
}
