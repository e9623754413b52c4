//! The steps that tell how what the shop derived came about.

use sidql_storage::{
    Body, Descriptor, Evidence, EvidenceKind, Failure, JobRecord, JobState, Model, Origin,
    OriginNo, Result, Space, Stamp, View, Write, evidence as said, failures as failed, jobs,
    models as known, origins, spaces, stamps as stamped,
};

/// The items about which something is said.
const DESCRIBED: u64 = 12;

fn stamp(origin: OriginNo, item: u64) -> Stamp {
    Stamp { origin, source: 1000 + item, made_ms: 1_700_000_000_100 + item as i64 }
}

fn origin(stage: &str, model: &str) -> Origin {
    Origin {
        stage: stage.into(),
        model: model.into(),
        kind: "local".into(),
        fingerprint: "f00d".into(),
        prompt: stage.into(),
        prompt_hash: "c0ffee".into(),
        parameters: "{\"temperature\":0.0}".into(),
        created_ms: 1_700_000_000_010,
        ..Origin::default()
    }
}

pub(super) fn models(write: &Write) -> Result<()> {
    let model = |name: &str, kind: &str| Model {
        name: name.into(),
        kind: kind.into(),
        config: "{\"threads\":2}".into(),
        fingerprint: "f00d".into(),
        created_ms: 1_700_000_000_006,
    };
    for name in ["eyes", "judge", "spare"] {
        known::create(write, &model(name, "local"))?;
    }
    known::update(write, &model("judge", "remote"))?;
    known::drop(write, "spare")?;
    for (stage, name) in [("caption", "eyes"), ("intent", "judge"), ("embed", "eyes")] {
        origins::intern(write, &origin(stage, name))?;
    }
    Ok(())
}

fn body(kind: EvidenceKind, item: u64) -> Body {
    match kind {
        EvidenceKind::Caption => Body::Caption(format!("a ball with {item} dots")),
        EvidenceKind::Intent => Body::Descriptors(vec![
            Descriptor { text: format!("game for {item}"), confidence: Some(0.75) },
            Descriptor { text: "something round".into(), confidence: None },
        ]),
        EvidenceKind::Quality => {
            Body::Quality { labels: vec![true, item.is_multiple_of(2)], score: 0.5 }
        }
    }
}

pub(super) fn evidence(write: &Write) -> Result<()> {
    for kind in EvidenceKind::ALL {
        let number = origins::intern(write, &origin(kind.name(), "judge"))?;
        for item in 0..DESCRIBED {
            let evidence = Evidence { stamp: stamp(number, item), body: body(kind, item) };
            said::put(write, item, &evidence)?;
        }
    }
    said::remove(write, EvidenceKind::Intent, 7).map(|_| ())
}

/// Captions of the first items of all.
pub(super) fn captions(write: &Write) -> Result<()> {
    let number = origins::intern(write, &origin("caption", "eyes"))?;
    for item in 0..2 {
        let body = body(EvidenceKind::Caption, item);
        said::put(write, item, &Evidence { stamp: stamp(number, item), body })?;
    }
    Ok(())
}

fn text(view: &dyn View) -> Result<Space> {
    spaces::must(view, "text")
}

pub(super) fn stamps(write: &Write) -> Result<()> {
    let number = origins::intern(write, &origin("embed", "eyes"))?;
    let space = text(write)?;
    stamped::put_many(write, &space, (0..20).map(|item| (item, stamp(number, item))))
}

pub(super) fn failures(write: &Write) -> Result<()> {
    let job = JobRecord {
        kind: "caption".into(),
        state: JobState::Failed,
        created_ms: 1_700_000_000_007,
        ..JobRecord::default()
    };
    let number = jobs::create(write, &job)?;
    for (job, items) in [(1, 2..5), (number, 3..9)] {
        for item in items {
            let failure = Failure {
                stage: "caption".into(),
                code: "bad-answer".into(),
                message: "the answer is no list".into(),
                answer: format!("I see {item} balls"),
                attempts: 2,
                made_ms: 1_700_000_000_200,
            };
            failed::put(write, job, item, &failure)?;
        }
    }
    Ok(())
}

/// The job is run again for some items: the failures go, and what was said is said anew.
pub(super) fn again(write: &Write) -> Result<()> {
    failed::remove(write, 2, 6)?;
    let number = origins::intern(write, &origin("caption", "eyes"))?;
    let body = body(EvidenceKind::Caption, 60);
    said::put(write, 6, &Evidence { stamp: stamp(number, 60), body })?;
    let number = origins::intern(write, &origin("embed", "eyes"))?;
    stamped::put_many(write, &text(write)?, [(6, stamp(number, 61))])
}
