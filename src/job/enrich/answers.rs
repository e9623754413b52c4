//! ENRICH … BY caption | intent | quality: a language model is asked about each item, by several at a time.
//!
//! This thread reads items and writes answers; workers ask. What is on its way is bounded by the number of workers, so
//! memory does not grow with the catalogue. Answers are committed as they come, all that have arrived at once: after a
//! kill no item is asked again whose answer had been written.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::time::Duration;

use sidql_storage::{
    Body, Evidence, EvidenceKind, Failure, ItemNo, OriginNo, Read, Stamp, evidence, failures,
    fields, jobs,
};

use super::workers::{Done, MAX_GROUP, Task, group, work};
use super::{Spec, Tally, failure, maker};
use crate::clock::now_ms;
use crate::count::{counted, grouped};
use crate::derive::origin::{self, FIELD, Maker, RULE};
use crate::derive::subject::{asked, photo, subject};
use crate::enrich::answer::{Answered, Asking, Interview, Questions};
use crate::enrich::image::Where;
use crate::enrich::{Kind, Subject};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::job::{Answer, Context};
use crate::model::Usage;
use crate::progress::Progress;

/// How often a waiting run looks up.
const TICK: Duration = Duration::from_millis(100);
/// After this many failures in a row, and no answer between them, the run gives up: the fault is not the items'.
const MAX_IN_A_ROW: usize = 20;

/// One run.
struct Run<'a, 'c> {
    context: &'a Context<'c>,
    spec: &'a Spec,
    kind: EvidenceKind,
    questions: &'a dyn Questions,
    asking: &'a Asking,
    place: &'a Where,
    origin: OriginNo,
    /// When the job was asked for: what was made since is its own work.
    since_ms: i64,
    next: ItemNo,
    pending: Vec<Task>,
    tally: Tally,
    usage: Usage,
    in_a_row: usize,
    /// The error of the last item that the model itself failed at, while no answer has come since.
    last: Option<Error>,
}

/// Runs the stage over all items, or some.
pub(super) fn run(
    context: &Context<'_>,
    spec: &Spec,
    stage: &'static Kind,
    kind: EvidenceKind,
    questions: &dyn Questions,
) -> Result<Answer> {
    let asking: Asking = serde_json::from_value(spec.options.clone())?;
    let place: Where = serde_json::from_value(spec.options.clone())?;
    let asks = asking.from.is_none() && !questions.needs_no_model();
    let words = if asks { Some(asking.words(questions.prompt())?) } else { None };
    let model = match (&spec.model, asks) {
        (Some(name), true) => {
            Some((maker(context, name)?, context.cache.model(&context.read()?, name)?))
        }
        (None, true) => return Err(Error::internal("a stage that asks has no model")),
        (_, false) => None,
    };
    let maker = match (&model, &asking.from) {
        (Some((maker, _)), _) => maker.clone(),
        (None, Some(field)) => {
            Maker { model: field.clone(), kind: FIELD.to_owned(), ..Maker::default() }
        }
        (None, None) => Maker { kind: RULE.to_owned(), ..Maker::default() },
    };
    let write = context.write()?;
    let origin = origin::intern(&write, stage.name, &maker, words.as_ref(), &spec.options)?;
    write.commit()?;
    let read = context.read()?;
    let since_ms = jobs::get(&read, context.job)?.map_or(0, |job| job.created_ms);
    context.progress.stage(verb(kind, asks), spec.total(&read)?);
    drop(read);
    let mut run = Run {
        context,
        spec,
        kind,
        questions,
        asking: &asking,
        place: &place,
        origin,
        since_ms,
        next: 0,
        pending: Vec::new(),
        tally: Tally::default(),
        usage: Usage::default(),
        in_a_row: 0,
        last: None,
    };
    match (&model, &words) {
        (Some((_, model)), Some(words)) => {
            let chat = model.chat.as_deref().ok_or_else(|| {
                Error::input("no-chat", format!("model `{}` gives no answers", maker.model))
            })?;
            let interview =
                Interview { stage: stage.name, chat, questions, words, asking: &asking };
            chat.renew();
            run.ask_all(&interview)?;
        }
        _ => run.make_all(stage.name)?,
    }
    Ok(run.say(&maker))
}

fn verb(kind: EvidenceKind, asks: bool) -> &'static str {
    match (kind, asks) {
        (EvidenceKind::Caption, true) => "captioning",
        (EvidenceKind::Intent, true) => "mining descriptors",
        (EvidenceKind::Quality, true) => "judging descriptors",
        _ => "taking over",
    }
}

impl Run<'_, '_> {
    /// Asks about all items, several at a time.
    fn ask_all(&mut self, interview: &Interview<'_>) -> Result<()> {
        let workers = interview.chat.workers();
        let (give, take) = sync_channel::<Task>(workers);
        let (tell, hear) = channel::<Done>();
        let take = Mutex::new(take);
        // Ends the workers' waits when this run stops, whatever the reason; the job's own progress goes on.
        let stop = Progress::silent();
        let place = self.place;
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (take, tell, stop) = (&take, tell.clone(), &stop);
                let progress = self.context.progress;
                scope.spawn(move || work(interview, place, take, &tell, (progress, stop)));
            }
            drop(tell);
            let ran = self.feed(&give, &hear, workers);
            drop(give);
            stop.stop();
            // What was on its way when the run ended has been paid for: it is kept.
            while let Ok(first) = hear.recv() {
                let group = group(first, &hear);
                // Whatever it says of going on, the run has ended.
                drop(self.keep(group)?);
            }
            match ran? {
                ControlFlow::Break(error) => Err(self.stopped(error)),
                // Where no answer came at all, the model is at fault and not the items.
                ControlFlow::Continue(()) => match self.last.take() {
                    Some(error) if self.tally.made == 0 => Err(self.stopped(error)),
                    _ => Ok(()),
                },
            }
        })
    }

    /// Keeps the workers busy and writes what they find.
    fn feed(
        &mut self,
        give: &SyncSender<Task>,
        hear: &Receiver<Done>,
        workers: usize,
    ) -> Result<ControlFlow<Error>> {
        let mut away = 0;
        loop {
            if self.context.progress.stopping() {
                return Ok(ControlFlow::Break(Error::cancelled()));
            }
            // Beyond the workers' own hands, one task each waits in the channel.
            while away < 2 * workers {
                let Some(task) = self.next_task()? else { break };
                match give.try_send(task) {
                    Ok(()) => away += 1,
                    Err(TrySendError::Full(task)) => {
                        self.pending.push(task);
                        break;
                    }
                    Err(TrySendError::Disconnected(_)) => {
                        return Err(Error::internal("the workers of an ENRICH are gone"));
                    }
                }
            }
            if away == 0 {
                return Ok(ControlFlow::Continue(()));
            }
            let first = match hear.recv_timeout(TICK) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("the workers of an ENRICH are gone"));
                }
            };
            let group = group(first, hear);
            away -= group.len();
            if let ControlFlow::Break(error) = self.keep(group)? {
                return Ok(ControlFlow::Break(error));
            }
        }
    }

    /// The next item that has to be asked about.
    fn next_task(&mut self) -> Result<Option<Task>> {
        loop {
            if let Some(task) = self.pending.pop() {
                return Ok(Some(task));
            }
            let read = self.context.read()?;
            let page = self.spec.page(&read, self.next)?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            self.next = last + 1;
            let schema = fields::all(&read)?;
            for (number, item) in page.into_iter().rev() {
                let mut subject = subject(&read, &schema, number, &item)?;
                subject.picture = photo(&schema, &item, self.place);
                self.consider(&read, number, subject)?;
            }
            self.context.progress.check()?;
        }
    }

    /// Puts an item among the pending, unless there is nothing to do for it.
    fn consider(&mut self, read: &Read, number: ItemNo, subject: Subject) -> Result<()> {
        let done = |count: &mut u64| {
            *count += 1;
            self.context.progress.advance(1);
        };
        let Some((data, source)) = asked(self.questions, self.asking, &subject) else {
            done(&mut self.tally.nothing);
            return Ok(());
        };
        if let Some(made) = evidence::get(read, self.kind, number)? {
            let own = made.stamp.made_ms > self.since_ms;
            let same = made.stamp.origin == self.origin && made.stamp.source == source;
            if same && (own || !self.spec.again()) {
                done(&mut self.tally.fresh);
                return Ok(());
            }
        }
        if failures::get(read, self.context.job, number)?.is_some() {
            done(&mut self.tally.failed);
            return Ok(());
        }
        self.pending.push(Task { number, subject, data, source });
        Ok(())
    }

    /// Writes what came of some items in one transaction, and tells whether to go on.
    fn keep(&mut self, group: Vec<Done>) -> Result<ControlFlow<Error>> {
        let write = self.context.write()?;
        let mut end = ControlFlow::Continue(());
        for done in group {
            match done.end {
                Ok(Answered { end: body, usage }) => {
                    self.usage += usage;
                    self.in_a_row = 0;
                    self.last = None;
                    match body {
                        Ok(body) => self.put(&write, done.number, done.source, body)?,
                        Err(failure) => self.fail(&write, done.number, &failure)?,
                    }
                }
                Err(error) if ends_the_run(&error) => {
                    if end.is_continue() {
                        end = ControlFlow::Break(error);
                    }
                }
                Err(error) => {
                    self.in_a_row += 1;
                    let failure = failure(self.kind.name(), &error);
                    self.fail(&write, done.number, &failure)?;
                    self.last = Some(error.clone());
                    let none = self.tally.made == 0 && error.code() == "endpoint-refused";
                    if none || self.in_a_row >= MAX_IN_A_ROW {
                        end = ControlFlow::Break(error);
                    }
                }
            }
        }
        write.commit()?;
        self.note();
        Ok(end)
    }

    fn put(
        &mut self,
        write: &sidql_storage::Write,
        number: ItemNo,
        source: u64,
        body: Body,
    ) -> Result<()> {
        self.context.progress.advance(1);
        // An item that was deleted meanwhile keeps nothing.
        if sidql_storage::items::id(write, number)?.is_none() {
            return Ok(());
        }
        let stamp = Stamp { origin: self.origin, source, made_ms: now_ms() };
        evidence::put(write, number, &Evidence { stamp, body })?;
        failures::remove(write, self.context.job, number)?;
        self.tally.made += 1;
        Ok(())
    }

    fn fail(
        &mut self,
        write: &sidql_storage::Write,
        number: ItemNo,
        failure: &Failure,
    ) -> Result<()> {
        self.context.progress.advance(1);
        if sidql_storage::items::id(write, number)?.is_some() {
            failures::put(write, self.context.job, number, failure)?;
            self.tally.failed += 1;
        }
        Ok(())
    }

    /// Values that need no model: taken from a field, or by rule.
    fn make_all(&mut self, stage: &'static str) -> Result<()> {
        loop {
            self.context.progress.check()?;
            let mut tasks = Vec::new();
            while tasks.len() < MAX_GROUP
                && let Some(task) = self.next_task()?
            {
                tasks.push(task);
            }
            if tasks.is_empty() {
                return Ok(());
            }
            let write = self.context.write()?;
            for Task { number, subject, data, source } in tasks {
                let made = match &self.asking.from {
                    Some(_) => Some(self.questions.take(&data)),
                    None => self.questions.without_model(&subject),
                };
                match made {
                    Some(Ok(body)) => self.put(&write, number, source, body)?,
                    Some(Err(why)) => {
                        let error = Error::input("bad-value", why);
                        self.fail(&write, number, &failure(stage, &error))?;
                    }
                    None => {
                        return Err(Error::internal("a value without a model and without a rule"));
                    }
                }
            }
            write.commit()?;
        }
    }

    /// Shows beside the progress what the answers cost and how many items failed.
    fn note(&self) {
        let progress = self.context.progress;
        if self.usage.read + self.usage.written > 0 {
            progress.note("tokens", (self.usage.read + self.usage.written) as f64);
        }
        if self.usage.cost > 0.0 {
            progress.note("cost", self.usage.cost);
        }
        if self.tally.failed > 0 {
            progress.note("failed", self.tally.failed as f64);
        }
    }

    /// The error of a run that stops before its end, with what is done already.
    fn stopped(&self, error: Error) -> Error {
        if error.is_cancelled() {
            return error;
        }
        let job = self.context.job;
        let kept = counted(self.tally.made as usize, "answer");
        let error = error.context(format!("stopped after {kept}, which are kept"));
        match error.help_text() {
            Some(_) => error,
            None => error.help(format!("RESUME JOB {job}; goes on with the rest")),
        }
    }

    fn say(&self, maker: &Maker) -> Answer {
        let noun = match self.kind {
            EvidenceKind::Caption => "caption",
            EvidenceKind::Intent => "list",
            EvidenceKind::Quality => "score",
        };
        let mut what = counted(self.tally.made as usize, noun);
        if self.kind == EvidenceKind::Intent {
            what += " of descriptors";
        }
        what += &match maker.kind.as_str() {
            FIELD => format!(" from `{}`", maker.model),
            RULE => " by rule".to_owned(),
            _ => format!(" by `{}`", maker.model),
        };
        let nothing = match self.kind {
            EvidenceKind::Caption if self.asking.from.is_none() => "a photo",
            EvidenceKind::Quality => "descriptors",
            _ => "text",
        };
        let mut answer = self.tally.say(self.context, &what, nothing);
        let Usage { read, written, cost } = self.usage;
        if read + written > 0 {
            answer.message +=
                &format!("; {} tokens read, {} written", grouped(read), grouped(written));
        }
        if cost > 0.0 {
            answer.message += &format!(", cost {cost:.4}");
        }
        answer
    }
}

/// Whether an error says that nothing more can be asked.
fn ends_the_run(error: &Error) -> bool {
    error.is_cancelled()
        || matches!(error.code(), "budget-spent" | "no-vision" | "no-key")
        || error.kind() == ErrorKind::Internal
}
