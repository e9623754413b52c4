//! The items of the shop, made from its lines of products.

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

use super::shop::{AUDIENCES, BRANDS, COLOURS, CUTS, FINISHES, Line, SPORTS, Sport};

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) brand: String,
    pub(super) price: f64,
    pub(super) categories: Vec<String>,
    pub(super) description: String,
    pub(super) size: Option<String>,
    pub(super) colour: String,
    pub(super) audience: String,
    pub(super) indoor: bool,
    pub(super) reviews: u32,
}

impl Item {
    /// The item as a line of a jsonl file.
    pub(super) fn to_json(&self) -> Json {
        json!({
            "id": self.id,
            "title": self.title,
            "brand": self.brand,
            "price": self.price,
            "categories": self.categories,
            "description": self.description,
            "size": self.size,
            "colour": self.colour,
            "audience": self.audience,
            "indoor": self.indoor,
            "reviews": self.reviews,
        })
    }
}

/// The items, and where each line of products lies among them.
pub(super) struct Catalogue {
    pub(super) items: Vec<Item>,
    /// For each sport and line of it, the items, the best sold first.
    pub(super) lines: Vec<Vec<Vec<usize>>>,
}

/// Makes `count` items, spread evenly over the lines of products.
pub(super) fn make(count: usize, seed: u64) -> Catalogue {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let all: usize = SPORTS.iter().map(|sport| sport.lines.len()).sum();
    let mut catalogue = Catalogue { items: case_study(), lines: Vec::new() };
    let plain = count - catalogue.items.len();
    let mut made = 0;
    for sport in SPORTS {
        let mut lines = Vec::new();
        for line in sport.lines {
            let mut members: Vec<usize> = Vec::new();
            if line.name == "Soccer Ball" {
                members.extend(0..catalogue.items.len());
            }
            for _ in 0..plain * (made + 1) / all - plain * made / all {
                members.push(catalogue.items.len());
                let number = catalogue.items.len();
                catalogue.items.push(item(sport, line, number, &mut random));
            }
            made += 1;
            lines.push(members);
        }
        catalogue.lines.push(lines);
    }
    catalogue
}

fn item(sport: &Sport, line: &Line, number: usize, random: &mut ChaCha8Rng) -> Item {
    let mut pick = |words: &[&'static str]| *words.choose(random).unwrap_or(&"");
    let (brand, cut, colour) = (pick(BRANDS), pick(CUTS), pick(COLOURS));
    let (audience, finish) = (pick(AUDIENCES), pick(FINISHES));
    let size = Some(pick(line.sizes)).filter(|size| !size.is_empty());
    let tail = size.map_or(String::new(), |size| format!(", {size}"));
    let title = format!("{brand} {cut} {}{tail}, {colour}", line.name);
    let what = line.name.to_lowercase();
    let description = format!(
        "{cut} {what} for {audience} {}: {}. {finish}, in {}.",
        sport.name.to_lowercase(),
        line.feature,
        colour.to_lowercase(),
    );
    let (low, high) = line.prices;
    // Prices end in .99 or .49, as in a shop.
    let euros = random.random_range(low..high);
    let cents = if random.random_bool(0.7) { 0.99 } else { 0.49 };
    let initials: String = sport.name.chars().filter(char::is_ascii_alphabetic).take(2).collect();
    Item {
        id: format!("B0{}{number:05}", initials.to_uppercase()),
        title,
        brand: brand.to_owned(),
        price: f64::from(euros) + cents,
        categories: categories(sport.name, line.group),
        description,
        size: size.map(str::to_owned),
        colour: colour.to_owned(),
        audience: audience.to_owned(),
        indoor: sport.indoor,
        reviews: random.random_range(0..900),
    }
}

fn categories(sport: &str, group: &str) -> Vec<String> {
    vec!["Sports & Outdoors".to_owned(), sport.to_owned(), group.to_owned()]
}

/// The four soccer balls of the paper's case study, with its surface text. Two pairs share title
/// words and differ in use: youth or match, indoor or outdoor.
fn case_study() -> Vec<Item> {
    let ball = |number: usize, title: &str, surface: &str, size: &str, colour: &str| Item {
        id: format!("B0SOCCER{number}"),
        title: title.to_owned(),
        brand: "Classic".to_owned(),
        price: [14.99, 24.99, 17.49, 21.99][number - 1],
        categories: categories("Soccer", "Balls"),
        description: surface.to_owned(),
        size: Some(size.to_owned()),
        colour: colour.to_owned(),
        audience: ["youth", "adult", "youth", "adult"][number - 1].to_owned(),
        indoor: number == 3,
        reviews: [412, 655, 238, 301][number - 1],
    };
    vec![
        ball(
            1,
            "Classic Soccer Ball, Size 4, Blue/Yellow",
            "soccer ball, size 4, training, durable. Youth practice, backyard and school field",
            "Size 4",
            "Blue/Yellow",
        ),
        ball(
            2,
            "Classic Soccer Ball, Size 5, White/Black",
            "soccer ball, size 5, training, durable. Match preparation, adult club practice",
            "Size 5",
            "White/Black",
        ),
        ball(
            3,
            "Soccer Training Ball, Size 4",
            "soccer training ball, size 4. Indoor futsal, low bounce control on the hard court",
            "Size 4",
            "Orange",
        ),
        ball(
            4,
            "Soccer Training Ball, Size 5",
            "soccer training ball, size 5. Outdoor field practice, team drills on grass and turf",
            "Size 5",
            "White",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_shop_has_its_items_once_and_the_same_every_time() {
        let catalogue = make(2_000, 7);
        assert_eq!(catalogue.items.len(), 2_000);
        let ids: HashSet<_> = catalogue.items.iter().map(|item| &item.id).collect();
        assert_eq!(ids.len(), 2_000);
        let listed: usize = catalogue.lines.iter().flatten().map(Vec::len).sum();
        assert_eq!(listed, 2_000);
        assert!(catalogue.items.iter().all(|item| item.price > 0.0 && !item.title.contains("  ")));
        assert_eq!(make(2_000, 7).items, catalogue.items);
        assert_ne!(make(2_000, 8).items, catalogue.items);
    }

    #[test]
    fn the_soccer_balls_of_the_paper_are_among_them() {
        let catalogue = make(2_000, 7);
        for number in 1..=4 {
            let id = format!("B0SOCCER{number}");
            assert!(
                catalogue.items.iter().any(|item| item.id == id && item.title.contains("Ball"))
            );
        }
    }
}
