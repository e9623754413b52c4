//! What the shop sells: sports, their products in the order of the kit, brands, colours.

/// A sport.
pub(super) struct Sport {
    pub(super) name: &'static str,
    /// Whether it is played indoors as a rule.
    pub(super) indoor: bool,
    /// Its lines of products; what one buys after a line is as a rule the next.
    pub(super) lines: &'static [Line],
}

/// A line of products.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// The last of its categories.
    pub(super) group: &'static str,
    /// The lowest and the highest price in whole units.
    pub(super) prices: (u32, u32),
    pub(super) sizes: &'static [&'static str],
    /// What every product of the line does.
    pub(super) feature: &'static str,
}

const fn line(
    name: &'static str,
    group: &'static str,
    prices: (u32, u32),
    sizes: &'static [&'static str],
    feature: &'static str,
) -> Line {
    Line { name, group, prices, sizes, feature }
}

const NONE: &[&str] = &[""];
const BALLS: &[&str] = &["Size 3", "Size 4", "Size 5"];
const CLOTHES: &[&str] = &["Small", "Medium", "Large", "X-Large"];
const SHOES: &[&str] = &["EU 38", "EU 40", "EU 42", "EU 44"];
const LITRES: &[&str] = &["18 Litres", "30 Litres", "45 Litres"];
const METRES: &[&str] = &["3 Metres", "10 Metres", "60 Metres"];

pub(super) const BRANDS: &[&str] = &[
    "Alpenor",
    "Brightline",
    "Corvane",
    "Dunmere",
    "Estrella",
    "Fairhaven",
    "Galewind",
    "Harrow",
    "Ironbark",
    "Juniper",
    "Kestrel",
    "Lodestar",
    "Marlin",
    "Northway",
    "Oakridge",
    "Palisade",
    "Quill",
    "Redfern",
];
pub(super) const CUTS: &[&str] = &[
    "Classic",
    "Training",
    "Match",
    "Club",
    "Pro",
    "Elite",
    "Core",
    "Swift",
    "Light",
    "All-Round",
];
pub(super) const COLOURS: &[&str] = &[
    "Black",
    "White",
    "Navy",
    "Red",
    "Royal Blue",
    "Orange",
    "Lime",
    "Grey",
    "White/Black",
    "Blue/Yellow",
    "Green",
    "Purple",
];
pub(super) const AUDIENCES: &[&str] = &["youth", "adult", "women's", "men's"];
pub(super) const FINISHES: &[&str] = &[
    "Made to last through the season",
    "Light and quick to dry",
    "Tested by club coaches",
    "A sound choice for beginners",
    "Made from recycled material",
    "With a two-year warranty",
];

pub(super) const SPORTS: &[Sport] = &[
    Sport {
        name: "Soccer",
        indoor: false,
        lines: &[
            line(
                "Soccer Ball",
                "Balls",
                (9, 45),
                BALLS,
                "stitched panels that keep their shape on grass and turf",
            ),
            line(
                "Shin Guards",
                "Protection",
                (7, 25),
                CLOTHES,
                "a hard shell with a soft lining against kicks",
            ),
            line("Soccer Cleats", "Shoes", (29, 120), SHOES, "moulded studs that grip firm ground"),
            line(
                "Goalkeeper Gloves",
                "Gloves",
                (14, 60),
                CLOTHES,
                "latex palms that hold a wet ball",
            ),
            line(
                "Training Cones",
                "Training Aids",
                (6, 20),
                NONE,
                "markers for drills and small pitches",
            ),
            line("Pop-Up Goal", "Goals", (25, 90), NONE, "a goal for the backyard that folds flat"),
        ],
    },
    Sport {
        name: "Running",
        indoor: false,
        lines: &[
            line(
                "Running Shoes",
                "Shoes",
                (45, 150),
                SHOES,
                "a cushioned sole for long miles on the road",
            ),
            line("Running Socks", "Socks", (6, 18), CLOTHES, "seamless toes that prevent blisters"),
            line(
                "Running Belt",
                "Bags",
                (9, 30),
                NONE,
                "room for a phone and keys that does not bounce",
            ),
            line(
                "Hydration Vest",
                "Bags",
                (35, 110),
                CLOTHES,
                "soft flasks within reach on the trail",
            ),
            line(
                "Reflective Jacket",
                "Jackets",
                (29, 95),
                CLOTHES,
                "keeps out wind and is seen at night",
            ),
            line(
                "Foam Roller",
                "Recovery",
                (12, 40),
                NONE,
                "loosens calves and thighs after a run",
            ),
        ],
    },
    Sport {
        name: "Cycling",
        indoor: false,
        lines: &[
            line(
                "Bike Helmet",
                "Helmets",
                (25, 130),
                CLOTHES,
                "vents and an adjustable dial for a firm fit",
            ),
            line("Cycling Gloves", "Gloves", (11, 40), CLOTHES, "gel pads that spare the hands"),
            line("Bike Light Set", "Lights", (12, 60), NONE, "front and rear lamps charged by USB"),
            line("Bike Lock", "Locks", (15, 80), NONE, "hardened steel against cutting"),
            line("Mini Pump", "Tools", (10, 35), NONE, "fits both valves and the frame"),
            line(
                "Padded Shorts",
                "Clothing",
                (22, 85),
                CLOTHES,
                "a seat pad for hours in the saddle",
            ),
        ],
    },
    Sport {
        name: "Yoga",
        indoor: true,
        lines: &[
            line("Yoga Mat", "Mats", (14, 70), NONE, "a surface that does not slip in any pose"),
            line("Yoga Block", "Props", (6, 20), NONE, "firm foam that brings the floor closer"),
            line(
                "Yoga Strap",
                "Props",
                (5, 15),
                METRES,
                "a cotton strap with a metal ring for stretches",
            ),
            line(
                "Yoga Leggings",
                "Clothing",
                (18, 70),
                CLOTHES,
                "stretch fabric with a high waist",
            ),
            line("Meditation Cushion", "Props", (19, 60), NONE, "a seat of buckwheat hulls"),
            line("Mat Bag", "Bags", (10, 35), NONE, "carries a rolled mat over the shoulder"),
        ],
    },
    Sport {
        name: "Basketball",
        indoor: true,
        lines: &[
            line(
                "Basketball",
                "Balls",
                (12, 60),
                &["Size 5", "Size 6", "Size 7"],
                "a pebbled cover for a sure grip",
            ),
            line(
                "Basketball Shoes",
                "Shoes",
                (49, 150),
                SHOES,
                "ankle support for jumps and sudden stops",
            ),
            line("Arm Sleeve", "Clothing", (6, 20), CLOTHES, "light compression for shooters"),
            line(
                "Basketball Jersey",
                "Clothing",
                (15, 60),
                CLOTHES,
                "mesh that lets the air through",
            ),
            line("Basketball Net", "Hoops", (5, 18), NONE, "all-weather cord for a standard rim"),
            line("Ball Pump", "Tools", (6, 22), NONE, "a dual-action pump with needles"),
        ],
    },
    Sport {
        name: "Tennis",
        indoor: false,
        lines: &[
            line(
                "Tennis Racket",
                "Rackets",
                (29, 190),
                NONE,
                "a graphite frame with a wide sweet spot",
            ),
            line("Tennis Balls", "Balls", (4, 15), NONE, "pressurised felt balls, three in a can"),
            line("Racket Grip Tape", "Accessories", (4, 14), METRES, "absorbs sweat and shock"),
            line("Tennis Shoes", "Shoes", (45, 140), SHOES, "a herringbone sole for hard courts"),
            line(
                "Tennis Bag",
                "Bags",
                (25, 95),
                NONE,
                "holds three rackets and a change of clothes",
            ),
            line("Sun Visor", "Headwear", (8, 25), NONE, "keeps the sun off a serve"),
        ],
    },
    Sport {
        name: "Hiking",
        indoor: false,
        lines: &[
            line(
                "Hiking Boots",
                "Shoes",
                (55, 190),
                SHOES,
                "waterproof leather with a lugged sole",
            ),
            line("Hiking Socks", "Socks", (8, 24), CLOTHES, "merino wool that stays dry"),
            line("Trekking Poles", "Poles", (19, 90), NONE, "folding poles with cork handles"),
            line("Daypack", "Bags", (25, 110), LITRES, "a ventilated back and a rain cover"),
            line("Water Filter", "Water", (15, 60), NONE, "makes stream water safe to drink"),
            line("Rain Shell", "Jackets", (35, 160), CLOTHES, "taped seams against heavy rain"),
        ],
    },
    Sport {
        name: "Camping",
        indoor: false,
        lines: &[
            line("Dome Tent", "Tents", (49, 240), NONE, "sleeps two and stands in five minutes"),
            line("Sleeping Bag", "Sleeping", (29, 160), CLOTHES, "warm down to the freezing point"),
            line(
                "Sleeping Pad",
                "Sleeping",
                (18, 90),
                NONE,
                "self-inflating and insulated from the ground",
            ),
            line("Camp Stove", "Cooking", (17, 80), NONE, "boils a litre in four minutes"),
            line("Headlamp", "Lights", (12, 60), NONE, "a red mode and a hundred hours of light"),
            line(
                "Camp Chair",
                "Furniture",
                (15, 70),
                NONE,
                "folds into a bag the size of a bottle",
            ),
        ],
    },
    Sport {
        name: "Swimming",
        indoor: true,
        lines: &[
            line("Swim Goggles", "Goggles", (7, 35), NONE, "anti-fog lenses with a soft seal"),
            line("Swim Cap", "Headwear", (4, 15), NONE, "silicone that does not pull the hair"),
            line("Swimsuit", "Clothing", (18, 80), CLOTHES, "chlorine-proof fabric for daily laps"),
            line("Kickboard", "Training Aids", (9, 28), NONE, "foam that keeps the legs working"),
            line("Swim Fins", "Training Aids", (14, 50), SHOES, "short blades for a faster kick"),
            line("Microfibre Towel", "Towels", (8, 28), NONE, "dries fast and packs small"),
        ],
    },
    Sport {
        name: "Climbing",
        indoor: true,
        lines: &[
            line("Climbing Shoes", "Shoes", (45, 150), SHOES, "sticky rubber and a downturned toe"),
            line("Chalk Bag", "Accessories", (9, 28), NONE, "a fleece lining and a brush holder"),
            line(
                "Climbing Harness",
                "Safety",
                (35, 110),
                CLOTHES,
                "padded loops and four gear racks",
            ),
            line("Belay Device", "Safety", (18, 95), NONE, "assisted braking for single ropes"),
            line("Dynamic Rope", "Ropes", (59, 200), METRES, "a dry-treated rope for falls"),
            line("Quickdraw", "Safety", (11, 30), NONE, "a keylock carabiner that does not snag"),
        ],
    },
    Sport {
        name: "Golf",
        indoor: false,
        lines: &[
            line(
                "Golf Balls",
                "Balls",
                (12, 50),
                NONE,
                "a soft core for distance, twelve in a box",
            ),
            line("Golf Glove", "Gloves", (8, 26), CLOTHES, "cabretta leather for the leading hand"),
            line("Golf Tees", "Accessories", (4, 12), NONE, "a hundred bamboo tees"),
            line("Putter", "Clubs", (39, 200), NONE, "a milled face that rolls true"),
            line("Golf Stand Bag", "Bags", (69, 230), NONE, "legs that open by themselves"),
            line("Putting Mat", "Training Aids", (25, 90), METRES, "a green for the living room"),
        ],
    },
    Sport {
        name: "Boxing",
        indoor: true,
        lines: &[
            line(
                "Boxing Gloves",
                "Gloves",
                (19, 95),
                &["10 oz", "12 oz", "16 oz"],
                "layered foam that saves the knuckles",
            ),
            line(
                "Hand Wraps",
                "Protection",
                (5, 16),
                METRES,
                "elastic cotton that steadies the wrist",
            ),
            line("Mouth Guard", "Protection", (6, 24), NONE, "shaped at home in hot water"),
            line("Punching Bag", "Bags", (39, 180), NONE, "a filled heavy bag with a chain"),
            line("Skipping Rope", "Training Aids", (6, 25), METRES, "ball bearings for fast turns"),
            line(
                "Focus Mitts",
                "Training Aids",
                (15, 60),
                NONE,
                "curved targets for partner drills",
            ),
        ],
    },
    Sport {
        name: "Fishing",
        indoor: false,
        lines: &[
            line(
                "Spinning Rod",
                "Rods",
                (22, 130),
                METRES,
                "a fast carbon blank for spinning lures",
            ),
            line("Spinning Reel", "Reels", (25, 150), NONE, "a smooth drag with six bearings"),
            line("Braided Line", "Lines", (9, 35), METRES, "thin, strong and without stretch"),
            line("Lure Set", "Lures", (8, 40), NONE, "spoons and soft baits for pike and perch"),
            line("Tackle Box", "Storage", (14, 60), NONE, "trays that fold out and lock"),
            line("Landing Net", "Nets", (15, 55), NONE, "a rubber mesh that spares the fish"),
        ],
    },
    Sport {
        name: "Skiing",
        indoor: false,
        lines: &[
            line("Ski Goggles", "Goggles", (25, 130), NONE, "a lens that changes with the light"),
            line("Ski Helmet", "Helmets", (39, 150), CLOTHES, "warm ear pads and closable vents"),
            line("Ski Gloves", "Gloves", (19, 90), CLOTHES, "waterproof with a long cuff"),
            line("Base Layer", "Clothing", (22, 80), CLOTHES, "warm wool next to the skin"),
            line("Ski Socks", "Socks", (11, 32), CLOTHES, "padded shins for stiff boots"),
            line("Hand Warmers", "Accessories", (5, 18), NONE, "eight hours of warmth, ten pairs"),
        ],
    },
    Sport {
        name: "Volleyball",
        indoor: true,
        lines: &[
            line("Volleyball", "Balls", (11, 60), NONE, "a soft-touch cover for long rallies"),
            line("Knee Pads", "Protection", (9, 30), CLOTHES, "thick foam for dives on the court"),
            line(
                "Volleyball Shoes",
                "Shoes",
                (45, 120),
                SHOES,
                "gum soles that grip the hall floor",
            ),
            line("Volleyball Net", "Nets", (19, 90), NONE, "a full-width net with steel cable"),
            line("Ankle Brace", "Protection", (12, 40), CLOTHES, "laces that steady a weak ankle"),
            line("Ball Bag", "Bags", (8, 30), NONE, "a mesh bag for six balls"),
        ],
    },
    Sport {
        name: "Strength",
        indoor: true,
        lines: &[
            line(
                "Dumbbell Pair",
                "Weights",
                (15, 120),
                &["2 kg", "5 kg", "10 kg"],
                "neoprene over cast iron",
            ),
            line("Resistance Bands", "Bands", (8, 35), NONE, "five loops from light to heavy"),
            line(
                "Kettlebell",
                "Weights",
                (18, 90),
                &["8 kg", "12 kg", "16 kg"],
                "a flat base and a wide handle",
            ),
            line(
                "Weight Bench",
                "Benches",
                (59, 220),
                NONE,
                "seven positions from flat to upright",
            ),
            line("Lifting Belt", "Support", (17, 70), CLOTHES, "firm leather for heavy squats"),
            line("Pull-Up Bar", "Bars", (19, 60), NONE, "fits a door frame without screws"),
        ],
    },
];
