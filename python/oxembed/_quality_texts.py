"""The texts that `verify` embeds: pairs that mean the same, and texts that programs stumble over."""

from __future__ import annotations

# Each sentence means the same as its neighbour and nothing like any other of the list.
PAIRS: tuple[tuple[str, str], ...] = (
    ("The cat is sleeping on the sofa.", "A cat sleeps on the couch."),
    ("How do I reset my password?", "I forgot my password; how can I change it?"),
    ("The company's profits fell sharply this quarter.", "Quarterly earnings of the firm dropped steeply."),
    ("The bakery sells fresh bread every morning.", "Every morning you can buy fresh bread at the bakery."),
    ("She plays the violin in an orchestra.", "She is a violinist in an orchestra."),
    ("The doctor told him to stop smoking.", "His physician advised him to quit smoking."),
    ("The library lends books for three weeks.", "Books can be borrowed from the library for three weeks."),
    ("A man is riding a bicycle down the street.", "A man rides his bike along the road."),
    ("The recipe needs two eggs and a cup of flour.", "You need two eggs and one cup of flour for this recipe."),
    ("The new bridge will open to traffic next year.", "Next year traffic can use the new bridge."),
    ("Scientists have discovered a new species of frog.", "Researchers found a previously unknown frog species."),
    ("My laptop battery runs out too quickly.", "The battery of my laptop does not last long."),
    ("The team won the championship last night.", "Last night the team became champions."),
    ("The museum is closed on Mondays.", "On Mondays the museum does not open."),
    ("He learned to speak Spanish while living in Madrid.", "Living in Madrid, he learned Spanish."),
    ("The price of oil rose to a record high.", "Oil prices reached an all-time high."),
    ("The children are building a castle of sand.", "Some kids are making a sandcastle."),
    ("The flight was cancelled because of the storm.", "Because of the storm, the plane did not fly."),
    (
        "The function returns an empty list when nothing is found.",
        "If there is no match, the function gives back an empty list.",
    ),
    ("A bee is sitting on a yellow flower.", "On a yellow flower sits a bee."),
)

AWKWARD: tuple[str, ...] = (
    "",
    " ",
    "\n\t \r\n",
    "\0",
    "a\0b\x07 \x1b[31mred\x1b[0m \x7f",
    "a",
    ".",
    "🙂",
    "👩‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️",
    "\u200b\u200d\u2060\ufeff",
    "e\u0301 and \u00e9, \ufb00 \u2167 \u2460",
    "\ufffd \ue000 \U0010fffd",
    "\u202eright to left\u202c",
    "Die Übergrößenträgerin wohnt in der Straße.",
    "Le garçon naïf a mangé une crème brûlée.",
    "Привет, как дела? Сегодня хорошая погода.",
    "你好，世界。今天天气很好。",
    "こんにちは、世界。カタカナもあります。",
    "안녕하세요, 세계.",
    "مرحبا بالعالم",
    "שלום עולם",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "def invert(table):\n    return {value: key for key, value in table.items()}\n",
    "SELECT name FROM people WHERE age <> 42 AND note LIKE '%\"%';",
    "<p class='x'>a &amp; b</p> {{ template }} https://example.org/a?b=c#d",
    "1234567890 3.14159 -1e-9 0x7fff 12:30 2024-02-29",
    "!!! ??? ... --- ***",
    "[CLS] [SEP] [PAD] [MASK] <s> </s> <pad> <unk> <|endoftext|>",
    "pneumonoultramicroscopicsilicovolcanoconiosis" * 4,
    "a" * 500,
    "word " * 60,
    "A sentence of ordinary length, with nothing in it that anybody could stumble over, is here too.",
)


def long_text(words: int) -> str:
    """A text of so many words, no two neighbours alike."""
    vocabulary = ("many", "short", "words", "one", "after", "the", "other", "make", "a", "long", "text", "and", "so on")
    return " ".join(vocabulary[place % len(vocabulary)] for place in range(words))
