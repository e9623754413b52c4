//! An item as the stages of enrichment see it, and hashes of what they see.

use serde_json::{Value as Json, json};
use sidql_storage::{
    Body, Descriptor, Evidence, EvidenceKind, Field, FieldValue, Item, ItemNo, View, evidence,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::enrich::Subject;
use crate::enrich::answer::{Asking, Questions};
use crate::enrich::image::{Reference, Where};
use crate::error::Result;

/// An item with its caption and its descriptors. A caption or descriptors that a stage made stand before a metadata
/// field of the same name, which stands where there are none.
pub(crate) fn subject(
    view: &dyn View,
    schema: &[Field],
    number: ItemNo,
    item: &Item,
) -> Result<Subject> {
    let mut subject = Subject { id: item.id.clone(), ..Subject::default() };
    for (field, value) in &item.fields {
        let Some(field) = schema.get(*field as usize) else { continue };
        if let Some(json) = told(value) {
            subject.fields.push((field.name.clone(), json));
        }
    }
    if let Some(Body::Caption(caption)) = body(view, EvidenceKind::Caption, number)? {
        put(&mut subject, "caption", json!(caption));
    }
    if let Some(Body::Descriptors(list)) = body(view, EvidenceKind::Intent, number)? {
        let texts: Vec<&str> = list.iter().map(|one| one.text.as_str()).collect();
        put(&mut subject, "descriptors", json!(texts));
        subject.descriptors = list;
    } else if let Some(Json::Array(list)) = subject.field("descriptors") {
        let texts = list.iter().filter_map(Json::as_str);
        let bare = texts.map(|text| Descriptor { text: text.to_owned(), confidence: None });
        subject.descriptors = bare.collect();
    }
    Ok(subject)
}

/// Where the photo of an item is.
pub(crate) fn photo(schema: &[Field], item: &Item, place: &Where) -> Option<Reference> {
    place.reference(|name| {
        let at = schema.iter().position(|field| field.name.eq_ignore_ascii_case(name))?;
        item.field(at as u16)
    })
}

/// The text of an item, for a vector of it.
pub(crate) fn item_text(
    view: &dyn View,
    schema: &[Field],
    (number, item): (ItemNo, &Item),
    parts: Option<&[String]>,
) -> Result<String> {
    Ok(subject(view, schema, number, item)?.text(parts))
}

/// What is asked about an item, with a hash of all that the answer depends on; nothing where there is nothing to ask.
pub(crate) fn asked(
    questions: &dyn Questions,
    asking: &Asking,
    subject: &Subject,
) -> Option<(Json, u64)> {
    if let Some(field) = &asking.from {
        let value = subject.metadata(field).filter(|value| !value.is_null())?;
        return Some((value.clone(), xxh3_64(value.to_string().as_bytes())));
    }
    if questions.needs_picture() && subject.picture.is_none() {
        return None;
    }
    let data = questions.data(asking, subject)?;
    let confidences: Vec<Option<f32>> =
        subject.descriptors.iter().map(|one| one.confidence).collect();
    // A score weighs labels by confidences, which the judge does not see.
    let weighed = if data.get("descriptors").is_some() { &confidences[..] } else { &[] };
    let picture = subject.picture.as_ref().map(Reference::hash);
    let all = json!([data, weighed, picture]).to_string();
    Some((data, xxh3_64(all.as_bytes())))
}

/// The evidence of a kind that an item has.
pub(crate) fn body(view: &dyn View, kind: EvidenceKind, number: ItemNo) -> Result<Option<Body>> {
    Ok(evidence::get(view, kind, number)?.map(|Evidence { body, .. }| body))
}

/// Puts what a stage made in the place of a metadata field of the same name.
fn put(subject: &mut Subject, name: &'static str, value: Json) {
    let place = subject.fields.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
    subject.made.push((name, place.map(|at| subject.fields.remove(at).1)));
    subject.fields.push((name.to_owned(), value));
}

fn told(value: &FieldValue) -> Option<Json> {
    Some(match value {
        FieldValue::Text(text) => json!(text),
        FieldValue::List(list) => json!(list),
        FieldValue::Int(int) => json!(int),
        FieldValue::Float(float) => json!(float),
        FieldValue::Bool(bool) => json!(bool),
        FieldValue::Bytes(_) => return None,
    })
}
