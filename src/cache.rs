//! What is kept ready in memory between statements: indexes of generations, encoders, policies.
//!
//! Everything here is derived from the file and stamped with what it was built from: the revision of a
//! generation, the number of a blob. A stale entry is rebuilt, never trusted.

pub(crate) mod held;
mod material;
mod names;
mod near;
mod predicates;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sidql_storage::{
    BlobNo, Codebook, Field, Generation, GenerationNo, PolicyCard, Space, View, blobs, codebooks,
    embeddings, fields, generations, items, models, sids, spaces,
};

use crate::device;
use crate::enrich::fuse::Fusion;
use crate::error::{Error, Result};
use crate::index::product::normalise;
use crate::index::sid::Codewords;
use crate::index::{Catalogue, Trie};
use crate::kind;
use crate::model::{self, Ability, Encoder, FittedEncoder, ImageEncoder, Make, Model};
use crate::policy::{self, Material, Policy, Reads};
use crate::quantize::Artefact;

use held::Held;
pub(crate) use names::Names;
use predicates::Predicates;

/// The catalogue, trie and codewords of one generation, as one revision of it has them.
pub(crate) struct IndexSet {
    /// The generation, at the revision that this was built from.
    pub(crate) generation: Generation,
    /// The codewords; none where the SIDs came from elsewhere.
    pub(crate) artefact: Option<Arc<Artefact>>,
    /// The items that have a SID.
    pub(crate) catalogue: Catalogue,
    /// Their SIDs as a trie.
    pub(crate) trie: Trie,
    /// The codewords as neighbours are found by them, made when first asked for.
    codewords: OnceLock<Codewords>,
}

impl IndexSet {
    /// The codewords as neighbours are found by them; none where the SIDs came from elsewhere.
    pub(crate) fn codewords(&self) -> Option<&Codewords> {
        let artefact = self.artefact.as_ref()?;
        let levels = (0..artefact.levels()).map(|level| artefact.stack().codebook(level));
        Some(self.codewords.get_or_init(|| Codewords::new(levels, artefact.latent_dim())))
    }
}

/// What a policy stands on: the SIDs of a generation, or the bare items.
#[derive(Clone)]
pub(crate) enum Ground {
    /// A generation.
    Index(Arc<IndexSet>),
    /// The items alone.
    Items(Arc<Catalogue>),
}

impl Ground {
    /// The items.
    pub(crate) fn catalogue(&self) -> &Catalogue {
        match self {
            Ground::Index(index) => &index.catalogue,
            Ground::Items(catalogue) => catalogue,
        }
    }

    /// The trie, where there are SIDs.
    pub(crate) fn trie(&self) -> Option<&Trie> {
        match self {
            Ground::Index(index) => Some(&index.trie),
            Ground::Items(_) => None,
        }
    }

    /// What tells this ground from another.
    fn stamp(&self) -> GroundStamp {
        match self {
            Ground::Index(index) => (
                Some(index.generation.number),
                index.generation.revision,
                index.catalogue.len() as u64,
            ),
            Ground::Items(items) => {
                (None, items.len() as u64, items.items.last().copied().unwrap_or_default())
            }
        }
    }
}

/// A trained policy, ready to answer.
pub(crate) struct Ready {
    /// The policy.
    pub(crate) policy: Policy,
    /// What it answers from.
    pub(crate) ground: Ground,
}

/// The caches of one open file. Entries are few: one for each generation, space and policy in use.
#[derive(Default)]
pub(crate) struct Cache {
    indexes: Mutex<HashMap<GenerationNo, Arc<IndexSet>>>,
    names: Mutex<HashMap<GenerationNo, (u64, Arc<Names>)>>,
    artefacts: Mutex<HashMap<BlobNo, Arc<Artefact>>>,
    encoders: Mutex<HashMap<BlobNo, Arc<dyn Encoder>>>,
    models: Mutex<HashMap<String, (i64, Arc<Model>)>>,
    fusions: Mutex<HashMap<BlobNo, Arc<Fusion>>>,
    catalogue: Mutex<Option<(Extent, Arc<Catalogue>)>>,
    policies: Mutex<HashMap<String, (Stamp, Arc<Ready>)>>,
    words: Mutex<Option<(u64, Arc<Words>)>>,
    predicates: Predicates,
    /// What `auto` means; nothing said: the best there is.
    device: Mutex<Option<String>>,
    held: Held,
}

/// The small tables that every statement consults.
pub(crate) struct Words {
    /// The metadata fields of the items, by number.
    pub(crate) fields: Vec<Field>,
    /// The codebooks with a published generation.
    pub(crate) published: Vec<Codebook>,
}

/// What tells a ground from another: the generation (none for bare items), and its revision or the items' extent.
type GroundStamp = (Option<GenerationNo>, u64, u64);
/// The count of the items and the bound of their numbers.
type Extent = (u64, u64);

/// The weights and the ground that a ready policy was made from.
type Stamp = (Option<BlobNo>, GroundStamp);

impl Cache {
    /// A cache that holds vectors and indexes of so many bytes.
    pub(crate) fn holding(bytes: u64) -> Self {
        Cache { held: Held::new(bytes), ..Cache::default() }
    }

    /// Where models and policies run that do not say it themselves.
    pub(crate) fn device(&self) -> String {
        lock(&self.device).clone().unwrap_or_else(|| device::AUTO.to_owned())
    }

    /// Says where they run. What was opened elsewhere is opened again.
    pub(crate) fn run_on(&self, device: &str) {
        if self.device() != device {
            *lock(&self.device) = Some(device.to_owned());
            lock(&self.models).clear();
            lock(&self.policies).clear();
        }
    }

    /// The index of a generation as the view sees it.
    pub(crate) fn index(&self, view: &dyn View, number: GenerationNo) -> Result<Arc<IndexSet>> {
        let generation = generations::must(view, number)?;
        if let Some(known) = lock(&self.indexes).get(&number)
            && known.generation.revision == generation.revision
        {
            return Ok(Arc::clone(known));
        }
        let artefact = match generation.artefact {
            Some(_) => Some(self.artefact(view, &generation)?),
            None => None,
        };
        let levels = generation.levels as usize;
        let columns = sids::columns(view, number, levels)?;
        let sizes = generation.sizes.iter().map(|size| *size as usize).collect();
        let (catalogue, trie) = Trie::of_columns(&columns, sizes);
        let index = Arc::new(IndexSet {
            generation,
            artefact,
            catalogue,
            trie,
            codewords: OnceLock::new(),
        });
        lock(&self.indexes).insert(number, Arc::clone(&index));
        Ok(index)
    }

    /// The ids of the items of an index, in its order.
    pub(crate) fn names(&self, view: &dyn View, index: &IndexSet) -> Result<Arc<Names>> {
        let (number, revision) = (index.generation.number, index.generation.revision);
        if let Some((known, names)) = lock(&self.names).get(&number)
            && *known == revision
        {
            return Ok(Arc::clone(names));
        }
        let names = Arc::new(Names::read(view, index)?);
        lock(&self.names).insert(number, (revision, Arc::clone(&names)));
        Ok(names)
    }

    /// The codewords of a generation.
    pub(crate) fn artefact(
        &self,
        view: &dyn View,
        generation: &Generation,
    ) -> Result<Arc<Artefact>> {
        let blob = generation.artefact.ok_or_else(|| {
            let (name, ordinal) = (&generation.codebook, generation.ordinal);
            Error::internal(format!("generation {ordinal} of `{name}` has no codewords"))
        })?;
        cached(&self.artefacts, blob, || Ok(Arc::new(Artefact::from_bytes(&bytes(view, blob)?)?)))
    }

    /// A model by name, opened.
    ///
    /// # Errors
    /// There is none of this name, or its weights are not where they were.
    pub(crate) fn model(&self, view: &dyn View, name: &str) -> Result<Arc<Model>> {
        let record = models::get(view, name)?.ok_or_else(|| {
            Error::input("no-model", format!("model `{name}` has been dropped"))
                .help(format!("CREATE MODEL {name} USING …; brings it back"))
        })?;
        // The time of creation tells a model from one of the same name that was dropped.
        let stamp = record.created_ms;
        if let Some((known, model)) = lock(&self.models).get(name)
            && *known == stamp
        {
            return Ok(Arc::clone(model));
        }
        let opened = Arc::new(open(&record, &self.device())?);
        lock(&self.models).insert(name.to_owned(), (stamp, Arc::clone(&opened)));
        Ok(opened)
    }

    /// The text encoder that speaks the vectors of a space.
    pub(crate) fn encoder(&self, view: &dyn View, space: &Space) -> Result<Arc<dyn Encoder>> {
        if let Some(model) = self.model_of(view, space)? {
            return model.text.clone().ok_or_else(|| not_an_encoder(space, Ability::Text));
        }
        let kind = kind::find(model::KINDS, "kind of model", &space.encoder)
            .map_err(|_| not_an_encoder(space, Ability::Text))?;
        let (Make::Fitted(_, load), Some(blob)) = (&kind.make, space.artefact) else {
            return Err(not_an_encoder(space, Ability::Text));
        };
        cached(&self.encoders, blob, || {
            let fitted: Arc<dyn FittedEncoder> = Arc::from(load(&bytes(view, blob)?)?);
            Ok(fitted as Arc<dyn Encoder>)
        })
    }

    /// The image encoder that speaks the vectors of a space.
    pub(crate) fn image_encoder(
        &self,
        view: &dyn View,
        space: &Space,
    ) -> Result<Arc<dyn ImageEncoder>> {
        let model = self.model_of(view, space)?;
        let encoder = model.and_then(|model| model.image.clone());
        encoder.ok_or_else(|| not_an_encoder(space, Ability::Image))
    }

    /// The opened model that made a space; none where the encoder was fitted here, or the space is a fusion.
    fn model_of(&self, view: &dyn View, space: &Space) -> Result<Option<Arc<Model>>> {
        /// What is read of a recipe here; `derive/` has all of it.
        #[derive(serde::Deserialize)]
        struct Made {
            model: Option<String>,
        }
        let made: Made = serde_json::from_str(&space.config)?;
        made.model.map(|name| self.model(view, &name)).transpose()
    }

    /// The fusion that made a space.
    pub(crate) fn fusion(&self, view: &dyn View, space: &Space) -> Result<Arc<Fusion>> {
        let blob = space.artefact.ok_or_else(|| {
            Error::internal(format!("space `{}` has lost its fusion", space.name))
        })?;
        cached(&self.fusions, blob, || Ok(Arc::new(Fusion::from_bytes(&bytes(view, blob)?)?)))
    }

    /// All items as a catalogue without codes.
    pub(crate) fn items(&self, view: &dyn View) -> Result<Arc<Catalogue>> {
        // Numbers are never used again, so count and bound together tell one set of items from another.
        let stamp = (items::count(view)?, items::bound(view)?);
        if let Some((known, catalogue)) = &*lock(&self.catalogue)
            && *known == stamp
        {
            return Ok(Arc::clone(catalogue));
        }
        let mut numbers = Vec::with_capacity(stamp.0 as usize);
        for row in items::scan(view, 0)? {
            numbers.push(row?.0);
        }
        let catalogue = Arc::new(Catalogue::new(numbers, Vec::new(), Vec::new()));
        *lock(&self.catalogue) = Some((stamp, Arc::clone(&catalogue)));
        Ok(catalogue)
    }

    /// What a policy of this kind stands on: the generation, or the bare items where it needs no SIDs.
    pub(crate) fn ground(
        &self,
        view: &dyn View,
        generation: Option<GenerationNo>,
    ) -> Result<Ground> {
        Ok(match generation {
            Some(number) => Ground::Index(self.index(view, number)?),
            None => Ground::Items(self.items(view)?),
        })
    }

    /// What statements can name, read once for a moment of the file; always where there is none.
    pub(crate) fn words(&self, view: &dyn View, moment: Option<u64>) -> Result<Arc<Words>> {
        if let Some((known, words)) = &*lock(&self.words)
            && Some(*known) == moment
        {
            return Ok(Arc::clone(words));
        }
        let mut published = codebooks::all(view)?;
        published.retain(|codebook| codebook.published.is_some());
        let words = Arc::new(Words { fields: fields::all(view)?, published });
        if let Some(moment) = moment {
            *lock(&self.words) = Some((moment, Arc::clone(&words)));
        }
        Ok(words)
    }

    /// A trained policy, ready to answer.
    ///
    /// # Errors
    /// It is not trained, or its generation was dropped.
    pub(crate) fn policy(&self, view: &dyn View, card: &PolicyCard) -> Result<Arc<Ready>> {
        let name = &card.name;
        let Some(weights) = card.weights else {
            return Err(Error::input("untrained", format!("policy `{name}` is not trained yet"))
                .help(format!("TRAIN POLICY {name};")));
        };
        if let Some(number) = card.generation
            && generations::get(view, number)?.is_none()
        {
            let codebook = card.codebook.as_deref().unwrap_or_default();
            let message = format!(
                "policy `{name}` was trained on a generation of codebook `{codebook}` that has been dropped"
            );
            return Err(Error::input("dropped-generation", message)
                .help(format!("TRAIN POLICY {name}; binds it to the published generation")));
        }
        let ground = self.ground(view, card.generation)?;
        let stamp = (Some(weights), ground.stamp());
        if let Some((known, ready)) = lock(&self.policies).get(name)
            && *known == stamp
        {
            return Ok(Arc::clone(ready));
        }
        let mut policy = untrained(view, card, &ground, (&self.device(), 0))?;
        policy.load(ground.catalogue(), &bytes(view, weights)?)?;
        let ready = Arc::new(Ready { policy, ground });
        lock(&self.policies).insert(name.clone(), (stamp, Arc::clone(&ready)));
        Ok(ready)
    }
}

/// A policy as its card describes it, on a device, with weights drawn from a seed.
pub(crate) fn untrained(
    view: &dyn View,
    card: &PolicyCard,
    ground: &Ground,
    (device, seed): (&str, u64),
) -> Result<Policy> {
    let kind = kind::find(policy::KINDS, "policy kind", &card.kind)?;
    let config = serde_json::from_str(&card.config)
        .map_err(|error| Error::internal(format!("the options of `{}`: {error}", card.name)))?;
    let catalogue = ground.catalogue();
    let (content, made_by) = match ground {
        Ground::Index(index) if kind.reads(Reads::Content) => content(view, index)?,
        _ => (Vec::new(), 0),
    };
    let device = device::choose(device)?;
    let base = if kind.reads(Reads::Base) { material::base(view, &config, &device)? } else { None };
    let reads_titles = kind.reads(Reads::Titles);
    let titles = if reads_titles { material::titles(view, catalogue)? } else { Vec::new() };
    let (content, base, titles) = (&content[..], base.as_ref(), &titles[..]);
    let material = Material { catalogue, content, made_by, base, titles };
    (kind.build)(&config, &material, &device, seed)
}

/// The vector of every item of an index in the space of its codebook, of unit length (zeros where there is none), and a
/// hash of what made them. Nothing where the codes came without a space.
pub(crate) fn content(view: &dyn View, index: &IndexSet) -> Result<(Vec<f32>, u64)> {
    let codebook = codebooks::must(view, &index.generation.codebook)?;
    let Some(space) = spaces::get(view, &codebook.space)? else { return Ok((Vec::new(), 0)) };
    let dim = space.dim as usize;
    let mut vectors = vec![0.0; index.catalogue.len() * dim];
    let (items, data) = embeddings::load(view, &space)?;
    for (item, vector) in items.iter().zip(data.chunks_exact(dim.max(1))) {
        if let Some(position) = index.catalogue.position(*item) {
            let at = position as usize * dim;
            vectors[at..at + dim].copy_from_slice(vector);
            normalise(&mut vectors[at..at + dim]);
        }
    }
    Ok((vectors, space.source_hash))
}

/// A blob that must be there.
pub(crate) fn bytes(view: &dyn View, blob: BlobNo) -> Result<Vec<u8>> {
    blobs::get(view, blob)?.ok_or_else(|| {
        Error::new(crate::error::Kind::Restore, "missing-blob", format!("blob {blob} is missing"))
            .help("VERIFY tells what else is damaged; restore a backup")
    })
}

/// A model as its record describes it. `device`: where it runs if its options do not say.
pub(crate) fn open(record: &sidql_storage::Model, device: &str) -> Result<Model> {
    let kind = kind::find(model::KINDS, "kind of model", &record.kind)?;
    let Make::Opened(open, _) = kind.make else {
        let message = format!("models of kind `{}` are fitted on a catalogue", kind.name);
        return Err(Error::internal(message));
    };
    let mut config: serde_json::Value = serde_json::from_str(&record.config)
        .map_err(|error| Error::internal(format!("the options of `{}`: {error}", record.name)))?;
    if config["device"] == device::AUTO {
        config["device"] = device.into();
    }
    open(&config).map_err(|error| error.context(format!("model `{}`", record.name)))
}

fn not_an_encoder(space: &Space, ability: Ability) -> Error {
    let message = format!("the encoder of space `{}` makes no {}", space.name, ability.name());
    Error::input("no-encoder", message).help(match ability {
        Ability::Image => "NEAR IMAGE works in spaces made by ENRICH … BY image",
        _ => "NEAR TEXT works in spaces made by ENRICH … BY text, and of images by a model that reads text too",
    })
}

fn cached<K: Eq + Hash, V: Clone>(
    map: &Mutex<HashMap<K, V>>,
    key: K,
    make: impl FnOnce() -> Result<V>,
) -> Result<V> {
    if let Some(known) = lock(map).get(&key) {
        return Ok(known.clone());
    }
    // Made outside the lock: two makers at once waste work, but nobody waits for a slow one.
    let made = make()?;
    lock(map).insert(key, made.clone());
    Ok(made)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Entries are replaced whole, so what a panic left behind is complete.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
