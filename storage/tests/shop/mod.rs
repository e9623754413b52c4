//! A small shop that fills every table, one commit for each step.

mod derived;
mod provenance;

use sidql_storage::{
    Codebook, EvaluationRecord, FieldType, FieldValue, Generation, Interaction, Item, JobRecord,
    JobState, PolicyCard, PolicyState, Result, Sid, Space, Store, Write, blobs, codebooks,
    embeddings, evaluations, fields, generations, histories, items, jobs, policies, settings, sids,
    spaces, users,
};

/// The items that the second step adds.
const ITEMS: u64 = 30;
/// A blob of more than one chunk.
const WEIGHTS: usize = 1_050_000;

/// One commit.
pub(crate) type Step = fn(&Write) -> Result<()>;

/// The steps in order.
pub(crate) const STEPS: [Step; 19] = [
    schema,
    catalogue,
    people,
    vectors,
    codebook,
    rebuild,
    cold_start,
    policy,
    work,
    provenance::models,
    provenance::evidence,
    provenance::stamps,
    provenance::failures,
    derived::indexes,
    regret,
    generation_two,
    provenance::again,
    derived::again,
    tidy,
];

/// Runs all steps.
#[allow(dead_code, reason = "not every test runs them all at once")]
pub(crate) fn fill(store: &Store) -> Result<()> {
    for step in STEPS {
        let write = store.write()?;
        step(&write)?;
        write.commit()?;
    }
    Ok(())
}

/// What the shop derived, told of any shop that has its items and vectors.
#[allow(dead_code, reason = "for a shop that an older format holds")]
pub(crate) fn describe(write: &Write) -> Result<()> {
    provenance::models(write)?;
    provenance::captions(write)?;
    derived::indexes(write)
}

fn schema(write: &Write) -> Result<()> {
    fields::add(write, "title", FieldType::Text)?;
    fields::add(write, "price", FieldType::Float)?;
    fields::add(write, "stock", FieldType::Int)?;
    fields::add(write, "new", FieldType::Bool)?;
    fields::add(write, "categories", FieldType::List)?;
    fields::add(write, "image", FieldType::Bytes)?;
    settings::set(write, "device", "cpu")
}

fn product(no: u64) -> Item {
    let mut fields = vec![
        (0, FieldValue::Text(format!("Ball no. {no}"))),
        (1, FieldValue::Float(no as f64 * 1.5)),
        (2, FieldValue::Int(no as i64 - 5)),
        (3, FieldValue::Bool(no.is_multiple_of(2))),
        (4, FieldValue::List(vec!["Sports".into(), format!("Group {}", no % 3)])),
    ];
    if no == 0 {
        fields.push((5, FieldValue::Bytes(vec![0, 1, 255])));
    }
    Item { id: format!("B{no:03}"), fields }
}

fn catalogue(write: &Write) -> Result<()> {
    for no in 0..ITEMS {
        items::insert(write, &product(no))?;
    }
    Ok(())
}

fn people(write: &Write) -> Result<()> {
    for no in 0..5u64 {
        let user = users::get_or_insert(write, &format!("user {no}"))?;
        let history: Vec<_> = (0..no * 100)
            .map(|at| Interaction::new((at * 7 + no) % ITEMS, (at / 2) as i64))
            .collect();
        histories::append(write, user, &history)?;
    }
    let bought = Interaction { kind: Some("buy".into()), weight: 2.5, ..Interaction::new(3, 12) };
    histories::append(write, 1, &[bought])
}

fn vectors(write: &Write) -> Result<()> {
    let document_frequencies = blobs::put(write, &[7; 300])?;
    let space = Space {
        name: "text".into(),
        dim: 3,
        encoder: "hash".into(),
        config: "{\"dim\":3}".into(),
        artefact: Some(document_frequencies),
        source_hash: 77,
        created_ms: 1_700_000_000_000,
        ..Space::default()
    };
    spaces::create(write, &space)?;
    let vectors = (0..ITEMS).map(|item| (item, [item as f32, 0.5, -1.0]));
    embeddings::put_many(write, "text", vectors)
}

fn codebook(write: &Write) -> Result<()> {
    let codebook = Codebook {
        name: "main".into(),
        kind: "rq_kmeans".into(),
        config: "{\"levels\":3}".into(),
        space: "text".into(),
        created_ms: 1_700_000_000_001,
        ..Codebook::default()
    };
    codebooks::create(write, &codebook)
}

fn build(write: &Write, turn: u64) -> Result<u32> {
    let artefact = Some(blobs::put(write, &vec![turn as u8; 5000])?);
    let made = generations::begin(
        write,
        &Generation {
            codebook: "main".into(),
            kind: "rq_kmeans".into(),
            config: "{\"levels\":3}".into(),
            levels: 3,
            sizes: vec![4, 4, 64],
            artefact,
            health: "{}".into(),
            source_hash: 9,
            created_ms: 1_700_000_000_002,
            ..Generation::default()
        },
    )?;
    let sid = |item: u64| Sid::new(&[((item + turn) % 4) as u16, (item % 3) as u16, item as u16]);
    let mut all = Vec::new();
    for row in items::scan(write, 0)? {
        let (item, _) = row?;
        all.push((item, sid(item)?));
    }
    sids::load_many(write, made.number, all)?;
    Ok(made.number)
}

fn rebuild(write: &Write) -> Result<()> {
    let number = build(write, 0)?;
    generations::publish(write, number)
}

fn cold_start(write: &Write) -> Result<()> {
    let item = items::insert(write, &product(ITEMS))?;
    embeddings::put(write, "text", item, &[1.0, 2.0, 3.0])?;
    sids::insert(write, 1, item, &Sid::new(&[0, 1, 63, 2])?)
}

fn policy(write: &Write) -> Result<()> {
    let card = PolicyCard {
        name: "p".into(),
        kind: "decoder".into(),
        config: "{}".into(),
        codebook: Some("main".into()),
        created_ms: 1_700_000_000_003,
        ..PolicyCard::default()
    };
    policies::create(write, &card)?;
    let weights: Vec<u8> = (0..WEIGHTS).map(|at| (at % 251) as u8).collect();
    policies::update(
        write,
        &PolicyCard {
            generation: Some(1),
            state: PolicyState::Trained,
            weights: Some(blobs::put(write, &weights)?),
            report: "{\"loss\":1.5}".into(),
            data_hash: 5,
            trained_ms: Some(1_700_000_000_004),
            ..card
        },
    )
}

fn work(write: &Write) -> Result<()> {
    let job = JobRecord {
        kind: "train".into(),
        statement: "TRAIN POLICY p USING sft".into(),
        spec: "{}".into(),
        state: JobState::Running,
        stage: "epoch 1 of 2".into(),
        done: 3,
        total: 10,
        created_ms: 1_700_000_000_005,
        ..JobRecord::default()
    };
    let number = jobs::create(write, &job)?;
    let checkpoint = Some(blobs::put(write, b"checkpoint")?);
    jobs::update(write, &JobRecord { number, checkpoint, ..job })?;
    let evaluation = EvaluationRecord {
        policy: "p".into(),
        split: "test".into(),
        at: vec![5, 10],
        users: 5,
        metrics: "{\"hr@5\":0.2}".into(),
        generation: Some(1),
        ..EvaluationRecord::default()
    };
    evaluations::add(write, &evaluation).map(|_| ())
}

fn regret(write: &Write) -> Result<()> {
    items::delete_many(write, &[3, 4, 29])?;
    users::delete(write, 2)?;
    let mut changed = product(5);
    changed.id = "renamed".into();
    items::update(write, 5, &changed)
}

fn generation_two(write: &Write) -> Result<()> {
    let number = build(write, 1)?;
    generations::publish(write, number)?;
    generations::drop(write, 1).map(|_| ())
}

fn tidy(write: &Write) -> Result<()> {
    jobs::delete(write, 1)?;
    settings::set(write, "device", "auto")?;
    build(write, 2).map(|_| ())
}
