//! The words that codes of the format `words` are made of: three of them are 30 bits.
//!
//! The list is ours. Each word is short and common, so that people who learn English as a second language can read
//! and type it, and nothing that one would mind to see on one's own screen. No two are one slip apart (a letter
//! more, less, other, or two swapped), so a slip makes a wrong code and never another word of the list. Small words
//! of ordinary talk (`when`, `please`, `thank`) are left out: a run of words of the list counts as a code.
//!
//! Nothing here draws words or finds them in a text; that is the work of the codes.
//!
//! Codes that people hold must stay readable: a word may be replaced only where no code of this format is live.

/// The words, in ascending order; `WORDS[i]` is worth the number `i`, ten bits.
pub(crate) static WORDS: [&str; 1024] = [
    "abroad", "absorb", "access", "acorn", "action", "active", "actor", "actual", "adapt", "adjust",
    "admire", "adverb", "advice", "agenda", "ahead", "aisle", "album", "alert", "almond", "along", "alpine",
    "amazed", "amber", "amount", "anchor", "angle", "animal", "annual", "answer", "antler", "appear",
    "apple", "april", "apron", "arcade", "arch", "arctic", "arena", "array", "arrive", "artist", "asleep",
    "assume", "atlas", "atom", "attend", "audio", "august", "aunt", "aurora", "author", "autumn", "avoid",
    "awake", "award", "awning", "azure", "badge", "bagel", "baker", "ball", "ballad", "bamboo", "banana",
    "band", "banjo", "banner", "barrel", "base", "basic", "basket", "bath", "beacon", "bead", "beauty",
    "beetle", "begin", "belong", "belt", "bench", "berry", "bike", "bingo", "bird", "bison", "bloom", "blue",
    "board", "boat", "bobcat", "bold", "bonus", "boots", "border", "borrow", "bottle", "bounce", "bowl",
    "box", "branch", "brass", "brave", "break", "breeze", "brick", "bridge", "brief", "bright", "bring",
    "bronze", "brook", "brown", "brush", "bubble", "bucket", "buckle", "buddy", "budget", "buffet", "build",
    "bulb", "bundle", "bunny", "burger", "bus", "butter", "button", "cable", "calm", "camel", "camera",
    "camp", "canal", "canary", "candle", "candy", "canoe", "canopy", "canvas", "canyon", "carafe", "carbon",
    "card", "career", "cargo", "carpet", "carrot", "carry", "cashew", "castle", "cat", "catch", "catnip",
    "cause", "cave", "caviar", "cedar", "celery", "cello", "center", "cereal", "chair", "chalk", "chance",
    "charge", "charm", "chase", "cheer", "cheese", "chef", "cherry", "chess", "chili", "choice", "choose",
    "chorus", "chrome", "chunk", "cinema", "circle", "circus", "citrus", "city", "claim", "class", "clay",
    "clean", "clever", "click", "cliff", "climb", "close", "cloth", "clown", "club", "coach", "coast",
    "cobalt", "cocoa", "cocoon", "coffee", "coin", "color", "column", "comedy", "comet", "comic", "common",
    "convey", "cookie", "copper", "copy", "coral", "corner", "cotton", "could", "count", "couple", "coupon",
    "course", "cousin", "cover", "coyote", "craft", "crane", "crayon", "create", "credit", "creek", "crisp",
    "crop", "crowd", "cruise", "crumb", "cube", "cuckoo", "cup", "cursor", "curve", "custom", "cycle",
    "daily", "dance", "daring", "data", "dawn", "day", "dazzle", "dear", "debut", "decide", "deck", "decor",
    "deep", "define", "degree", "delay", "delete", "delta", "denim", "depart", "depend", "depot", "design",
    "detail", "detect", "device", "dial", "dialog", "diary", "diesel", "dig", "digest", "dinner", "direct",
    "dish", "diver", "divide", "dodge", "dollar", "domain", "domino", "donkey", "donut", "door", "double",
    "dough", "dove", "dozen", "dragon", "drama", "drape", "draw", "dream", "dress", "drift", "drive", "drum",
    "dryer", "duet", "dusk", "duty", "eager", "eagle", "early", "earth", "easily", "easy", "echo", "edge",
    "editor", "effect", "effort", "eighty", "eleven", "empty", "enable", "encore", "energy", "engage",
    "engine", "enjoy", "entire", "entry", "equal", "equip", "erase", "essay", "estate", "event", "exact",
    "except", "excite", "exit", "expand", "expect", "export", "extra", "fabric", "fact", "fair", "falcon",
    "family", "famous", "fan", "fancy", "farmer", "favor", "feed", "fellow", "fence", "fern", "fetch",
    "fiber", "field", "fifty", "figure", "film", "filter", "final", "finish", "first", "five", "flag",
    "flame", "flash", "fleet", "flight", "flip", "float", "flock", "floor", "flow", "flower", "fluffy",
    "flute", "fly", "flyer", "focus", "folder", "fond", "forest", "forget", "form", "format", "forty",
    "fossil", "fourth", "free", "fresh", "friday", "friend", "frog", "front", "frozen", "fruit", "fudge",
    "full", "future", "fuzzy", "gadget", "gain", "galaxy", "gallon", "garage", "garden", "garlic", "gather",
    "gecko", "gem", "genius", "gentle", "giant", "gift", "ginger", "glad", "glance", "global", "globe",
    "glory", "goal", "golden", "goose", "grace", "grand", "graph", "green", "grid", "grill", "ground",
    "group", "grow", "growth", "guest", "guide", "guitar", "habit", "half", "hammer", "happy", "harbor",
    "hawk", "hazel", "heavy", "height", "helmet", "helper", "hill", "hippo", "hobby", "hockey", "hollow",
    "honest", "honey", "honor", "hoop", "hope", "hornet", "horse", "hostel", "hour", "hub", "huge", "human",
    "humble", "humor", "ice", "icon", "idea", "igloo", "iguana", "image", "impact", "import", "inch",
    "income", "index", "indigo", "indoor", "inform", "insect", "invent", "invite", "island", "item", "ivory",
    "ivy", "jacket", "jade", "jaguar", "jam", "jazz", "jeans", "jelly", "jewel", "jigsaw", "jog", "joke",
    "juice", "july", "jumbo", "jump", "jumper", "june", "jungle", "kale", "kayak", "kettle", "key", "keypad",
    "kilo", "kind", "kite", "kitten", "kiwi", "koala", "label", "lace", "ladder", "laptop", "large", "lark",
    "laser", "laugh", "launch", "lava", "leader", "league", "leap", "learn", "leave", "lemon", "length",
    "lens", "lesson", "letter", "level", "lilac", "lily", "lime", "limit", "linen", "lion", "liquid", "list",
    "little", "lively", "lizard", "loaf", "local", "locate", "locker", "logic", "logo", "look", "lotus",
    "loud", "lounge", "lucky", "lumber", "lunar", "lyric", "magic", "magnet", "mail", "make", "mammal",
    "mango", "manual", "map", "maple", "marble", "market", "mask", "matrix", "matter", "meadow", "mean",
    "medal", "media", "medium", "melody", "melon", "member", "memo", "memory", "menu", "method", "metro",
    "middle", "midway", "minor", "mint", "minute", "mirror", "mixer", "mobile", "model", "modern", "module",
    "moment", "monday", "month", "moon", "moss", "motion", "motor", "mouse", "movie", "mud", "muffin",
    "mural", "museum", "music", "name", "napkin", "narrow", "nature", "neon", "nephew", "nest", "nickel",
    "night", "nine", "ninety", "noise", "noodle", "normal", "north", "notice", "novel", "nugget", "nutmeg",
    "oak", "oasis", "oats", "object", "ocean", "offer", "office", "oil", "olive", "onion", "online", "open",
    "opera", "orange", "orbit", "orca", "orchid", "origin", "outer", "outfit", "outlet", "output", "oval",
    "owner", "oxygen", "oyster", "pack", "paddle", "page", "paint", "pajama", "palace", "panda", "panel",
    "pantry", "paper", "parade", "parcel", "parent", "part", "pass", "pasta", "paw", "peach", "peanut",
    "pearl", "pebble", "peel", "pencil", "penny", "people", "pepper", "period", "person", "pet", "petal",
    "phone", "photo", "phrase", "piano", "pickle", "picnic", "pie", "piece", "pigeon", "piglet", "pillow",
    "pilot", "pink", "pixel", "pizza", "plan", "planet", "plate", "player", "plaza", "pluck", "plum",
    "pocket", "poem", "poetry", "polar", "polish", "polite", "pony", "pool", "post", "poster", "potato",
    "power", "praise", "prefer", "pretty", "prize", "profit", "proper", "proud", "public", "pulley",
    "puppet", "puppy", "pure", "purple", "push", "puzzle", "quick", "quiet", "quiz", "quote", "rabbit",
    "radar", "radio", "radish", "raisin", "random", "ranger", "rapid", "rate", "real", "recent", "recipe",
    "record", "reef", "region", "relate", "relax", "remote", "rent", "repair", "rescan", "review", "reward",
    "rhino", "ribbon", "rich", "ripe", "ripple", "road", "robin", "robot", "rock", "role", "roller", "roof",
    "roost", "route", "rowing", "ruby", "rug", "ruler", "runner", "runway", "safari", "safe", "sailor",
    "salad", "salary", "salmon", "salt", "sample", "sandal", "satin", "scale", "scarf", "scene", "school",
    "score", "screen", "script", "search", "season", "seat", "second", "serve", "sesame", "seven", "shade",
    "shadow", "sharp", "shed", "sheep", "shelf", "shift", "shiny", "shop", "shout", "shower", "shrimp",
    "sign", "signal", "silent", "silk", "silver", "sister", "sixty", "size", "skate", "sketch", "ski",
    "skill", "skirt", "sleeve", "slide", "slope", "small", "smart", "smile", "smooth", "snack", "snail",
    "snow", "soccer", "social", "soda", "soft", "solid", "solo", "solve", "some", "song", "sound", "soup",
    "source", "south", "space", "spark", "speak", "speech", "spend", "sphere", "spiral", "sponge", "spoon",
    "sport", "spread", "sprint", "sprout", "square", "squash", "squid", "stable", "staff", "stage", "stamp",
    "statue", "stay", "steel", "step", "stereo", "stick", "stir", "stone", "stool", "storm", "straw",
    "stream", "street", "stripe", "strong", "studio", "study", "style", "subway", "sugar", "suit", "summer",
    "summit", "sun", "sunday", "sunset", "super", "supply", "surf", "sushi", "swan", "sweet", "swim",
    "swing", "switch", "symbol", "syrup", "system", "tablet", "taco", "talent", "taste", "taxi", "tea",
    "teapot", "teddy", "tennis", "term", "theme", "theory", "thick", "thirty", "thread", "three", "thrive",
    "throw", "ticket", "tide", "tiger", "timber", "tiny", "title", "token", "tomato", "topic", "torch",
    "total", "towel", "town", "toy", "track", "trade", "train", "travel", "tray", "treat", "trial", "trim",
    "triple", "trophy", "trout", "true", "trust", "truth", "tulip", "tuna", "tunnel", "turnip", "turtle",
    "tutor", "tuxedo", "twelve", "twenty", "twist", "type", "uncle", "unique", "unit", "update", "upper",
    "urban", "valley", "value", "vault", "video", "view", "violet", "violin", "vision", "visit", "visual",
    "voice", "volume", "waffle", "wagon", "walk", "wallet", "walnut", "warm", "wash", "water", "web", "week",
    "whale", "wheat", "wheel", "white", "width", "win", "window", "winter", "wise", "wolf", "wonder", "wood",
    "world", "wrap", "writer", "yarn", "yogurt", "young", "yummy", "zebra", "zero", "zipper", "zone", "zoo",
];

/// The place of this word in [`WORDS`]; `None` if it is not there. Lower case is expected: folding is the caller's.
pub(crate) fn index(word: &str) -> Option<usize> {
    WORDS.binary_search(&word).ok()
}

/// Whether this word, in lower case, is one of the list.
pub(crate) fn contains(word: &str) -> bool {
    index(word).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether one slip makes `right` out of `left`: a letter more, less or other, or two neighbours swapped.
    fn one_slip_apart(left: &str, right: &str) -> bool {
        let (short, long) = if left.len() <= right.len() { (left, right) } else { (right, left) };
        let (short, long) = (short.as_bytes(), long.as_bytes());
        let head = short.iter().zip(long).take_while(|(a, b)| a == b).count();
        let rest_of = |bytes: &[u8], skipped: usize| bytes.iter().skip(skipped).copied().collect::<Vec<u8>>();
        let (short_rest, long_rest) = (rest_of(short, head), rest_of(long, head));
        match long.len() - short.len() {
            0 => {
                let swapped = match (short_rest.as_slice(), long_rest.as_slice()) {
                    ([first, second, behind @ ..], [other_first, other_second, other_behind @ ..]) => {
                        (first, second, behind) == (other_second, other_first, other_behind)
                    }
                    _ => false,
                };
                swapped || rest_of(&short_rest, 1) == rest_of(&long_rest, 1)
            }
            1 => short_rest == rest_of(&long_rest, 1),
            _ => false,
        }
    }

    #[test]
    fn the_list_has_ten_bits_a_word() {
        assert_eq!(WORDS.len(), 1 << 10);
    }

    #[test]
    fn the_words_are_sorted_and_none_stands_twice() {
        assert!(WORDS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn every_word_is_short_and_of_lower_case_ascii_letters() {
        for word in WORDS {
            assert!((3..=6).contains(&word.len()), "{word}");
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn a_code_of_three_words_has_at_most_twenty_characters() {
        let longest = WORDS.iter().map(|word| word.len()).max().unwrap_or(0);
        assert!(3 * longest + 2 <= 20, "{longest}");
    }

    #[test]
    fn no_two_words_are_one_slip_apart() {
        for (place, left) in WORDS.iter().enumerate() {
            for right in WORDS.iter().skip(place + 1) {
                assert!(!one_slip_apart(left, right), "{left} and {right}");
            }
        }
    }

    #[test]
    fn the_measure_of_slips_knows_each_kind() {
        for (left, right) in
            [("boat", "coat"), ("boat", "oat"), ("boat", "boats"), ("form", "from"), ("cat", "cat")]
        {
            assert!(one_slip_apart(left, right) && one_slip_apart(right, left), "{left} and {right}");
        }
        for (left, right) in [("apple", "maple"), ("form", "farms"), ("stone", "tones"), ("cat", "tac")] {
            assert!(!one_slip_apart(left, right) && !one_slip_apart(right, left), "{left} and {right}");
        }
    }

    #[test]
    fn every_word_is_found_in_its_place_and_nothing_else_is_found() {
        for (place, word) in WORDS.iter().enumerate() {
            assert_eq!(index(word), Some(place));
            assert!(contains(word));
        }
        for stranger in ["", "a", "Apple", "apples", "zzz", "苹果", "apple "] {
            assert!(!contains(stranger), "{stranger}");
        }
    }

    #[test]
    fn the_example_of_the_documents_is_a_code() {
        assert!(["apple", "blue", "cat"].iter().all(|word| contains(word)));
    }
}
