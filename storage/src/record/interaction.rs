//! Users and what they did.

use rkyv::{Archive, Deserialize, Serialize};

use super::ItemNo;

/// The newest shape of a user.
pub type User = UserV1;

/// One user.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct UserV1 {
    /// The key that users type.
    pub id: String,
}

/// One thing that a user did with an item. A history is a list of them in time order.
#[derive(Clone, Debug, PartialEq)]
pub struct Interaction {
    /// The item.
    pub item: ItemNo,
    /// When, or the position where only the order is known.
    pub time: i64,
    /// What was done, for example `click`.
    pub kind: Option<String>,
    /// How much it counts; 1 as a rule.
    pub weight: f32,
}

impl Interaction {
    /// An interaction of weight 1 and no particular kind.
    pub fn new(item: ItemNo, time: i64) -> Self {
        Interaction { item, time, kind: None, weight: 1.0 }
    }
}
