//! Which class makes a folder's tokenizer, and which tokens it then has.

use serde_json::{Value, json};

use super::Folder;
use crate::config::{Rebuilds, Side, TokenizerClass};

const TOKENIZER: &str = "tokenizer_config.json";

fn class_of(family: &str, named: Option<&str>, more: Value) -> TokenizerClass {
    let folder = Folder::new();
    folder.write("config.json", &json!({"model_type": family, "hidden_size": 32}));
    let mut settings = more;
    if let Some(named) = named {
        settings["tokenizer_class"] = json!(named);
    }
    folder.write(TOKENIZER, &settings);
    folder.read().tokenizer.class
}

/// transformers 5.23: `TOKENIZER_MAPPING_NAMES` and `tokenizer_class_from_name`.
#[test]
fn the_name_or_the_family_decides() {
    use Rebuilds::{ByteLevel, Nothing, SpacesPrepended, SpacesReplaced, SplitByteLevel, Unigram, WordPiece};
    let third = Unigram { unknown: Some(3) };
    for (family, named, rebuilds) in [
        ("bert", None, WordPiece),
        ("distilbert", None, WordPiece),
        ("nomic_bert", None, WordPiece),
        ("mpnet", None, WordPiece),
        ("roberta", None, ByteLevel),
        ("xlm-roberta", None, third),
        ("gte", None, third),
        ("camembert", None, Unigram { unknown: None }),
        ("qwen3", None, SplitByteLevel),
        ("gemma3_text", None, SpacesReplaced),
        ("llama", None, Nothing),
        ("new", None, Nothing),
        ("bert", Some("XLMRobertaTokenizerFast"), third),
        ("bert", Some("PreTrainedTokenizerFast"), Nothing),
        ("bert", Some("TokenizersBackend"), Nothing),
        ("bert", Some("NomicBertTokenizer"), Nothing),
        ("new", Some("ElectraTokenizerFast"), WordPiece),
        ("roberta", Some("LongformerTokenizer"), ByteLevel),
        ("qwen3", Some("PreTrainedTokenizerFast"), Nothing),
        ("llama", Some("LlamaTokenizer"), SpacesPrepended),
        ("llama", Some("Qwen2Tokenizer"), SplitByteLevel),
        ("modernbert", Some("BertTokenizer"), Nothing),
        ("mistral", Some("LlamaTokenizer"), Nothing),
        ("qwen2", Some("PreTrainedTokenizerFast"), SplitByteLevel),
    ] {
        assert_eq!(class_of(family, named, json!({})).rebuilds, rebuilds, "{family} {named:?}");
    }
}

#[test]
fn code_of_the_model_lets_the_name_count() {
    let code = json!({"auto_map": {"AutoTokenizer": [null, "tokenization.Own"]}});
    assert_eq!(class_of("modernbert", Some("BertTokenizer"), code.clone()).rebuilds, Rebuilds::WordPiece);
    assert_eq!(class_of("qwen2", Some("PreTrainedTokenizerFast"), code.clone()).rebuilds, Rebuilds::Nothing);
    let other = json!({"auto_map": {"AutoModel": "modeling.Own"}});
    assert_eq!(class_of("modernbert", Some("BertTokenizer"), other).rebuilds, Rebuilds::Nothing);
    let folder = Folder::new();
    folder.write("config.json", &json!({"model_type": "llama", "hidden_size": 32}));
    let mut settings = code;
    settings["tokenizer_class"] = json!("OwnTokenizer");
    folder.write(TOKENIZER, &settings);
    folder.refused(TOKENIZER, &["auto_map", "not run"]);
}

#[test]
fn a_byte_level_llama_counts_as_stored() {
    let folder = Folder::new();
    folder.write("config.json", &json!({"model_type": "llama", "hidden_size": 32}));
    folder.write(TOKENIZER, &json!({"tokenizer_class": "LlamaTokenizerFast"}));
    assert_eq!(folder.read().tokenizer.class.rebuilds, Rebuilds::SpacesPrepended);
    folder.write("tokenizer.json", &json!({"decoder": {"type": "ByteLevel"}}));
    assert_eq!(folder.read().tokenizer.class.rebuilds, Rebuilds::Nothing);
}

#[test]
fn a_class_that_is_not_known_here_is_refused() {
    let folder = Folder::new();
    for name in ["BertJapaneseTokenizer", "T5TokenizerFast", "GPT2Tokenizer"] {
        folder.write(TOKENIZER, &json!({"tokenizer_class": name}));
        folder.refused(TOKENIZER, &["tokenizer_class", name, "PreTrainedTokenizerFast"]);
    }
}

#[test]
fn a_class_has_tokens_of_its_own() {
    let folder = Folder::new();
    folder.write(TOKENIZER, &json!({"tokenizer_class": "GemmaTokenizer", "mask_token": null, "eos_token": "<end>"}));
    let tokenizer = folder.read().tokenizer;
    let of = |role: &str| tokenizer.special_tokens.of(role);
    assert_eq!(
        [of("bos_token"), of("eos_token"), of("pad_token"), of("mask_token"), of("cls_token")],
        [Some("<bos>"), Some("<end>"), Some("<pad>"), None, None]
    );
    assert_eq!(tokenizer.padding_side, Side::Left);
    folder.write(TOKENIZER, &json!({"tokenizer_class": "GemmaTokenizer", "padding_side": "right"}));
    assert_eq!(folder.read().tokenizer.padding_side, Side::Right);
}

#[test]
fn added_tokens_are_in_the_order_of_their_ids() {
    let folder = Folder::new();
    let token = |content: &str| json!({"content": content, "special": true});
    folder.write("added_tokens.json", &json!({"<a>": 9}));
    folder.write(TOKENIZER, &json!({"added_tokens_decoder": {"10": token("<b>"), "9": token("<c>")}}));
    let special = folder.read().tokenizer.special_tokens;
    let declared = special.declared.unwrap();
    assert_eq!(declared.iter().map(|token| token.content.as_str()).collect::<Vec<_>>(), ["<c>", "<b>"]);
    assert!(declared.iter().all(|token| token.special && !token.normalized));
    assert_eq!(special.beside, []);
    folder.write(TOKENIZER, &json!({}));
    let special = folder.read().tokenizer.special_tokens;
    assert_eq!(special.declared, None);
    assert_eq!(
        special.beside.iter().map(|(id, token)| (*id, token.content.as_str())).collect::<Vec<_>>(),
        [(9, "<a>")]
    );
    for broken in
        [json!([]), json!({"x": token("<a>")}), json!({"1": "<a>"}), json!({"1": {"content": "a", "lstrip": 1}})]
    {
        folder.write(TOKENIZER, &json!({ "added_tokens_decoder": broken }));
        folder.refused(TOKENIZER, &["added_tokens_decoder"]);
    }
}
