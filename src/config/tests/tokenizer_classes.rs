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

/// transformers 5.23, of each class made without a file: what its roles are given to, in the order of `ROLES` below,
/// `padding_side`, whether `model_input_names` has token types, and what its post-processor puts around a text.
#[test]
fn classes_are_those_of_transformers() {
    const ROLES: [&str; 7] =
        ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
    let bert = [None, None, Some("[UNK]"), Some("[SEP]"), Some("[PAD]"), Some("[CLS]"), Some("[MASK]")];
    let roberta = ["<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"].map(Some);
    let mpnet = ["<s>", "</s>", "[UNK]", "</s>", "<pad>", "<s>", "<mask>"].map(Some);
    let end = Some("<|endoftext|>");
    let qwen = [None, end, end, None, end, None, None];
    let gemma = [Some("<bos>"), Some("<eos>"), Some("<unk>"), None, Some("<pad>"), None, Some("<mask>")];
    let llama = [Some("<s>"), Some("</s>"), Some("<unk>"), None, None, None, None];
    let (cls, bos) = (Some(("cls_token", "sep_token")), Some(("bos_token", "eos_token")));
    for (name, tokens, side, token_types, around) in [
        ("Bert", bert, Side::Right, true, cls),
        ("DistilBert", bert, Side::Right, false, cls),
        ("MPNet", mpnet, Side::Right, false, cls),
        ("Roberta", roberta, Side::Right, false, cls),
        ("XLMRoberta", roberta, Side::Right, false, bos),
        ("Camembert", roberta, Side::Right, false, bos),
        ("Qwen2", qwen, Side::Right, false, None),
        ("Gemma", gemma, Side::Left, false, None),
        ("Llama", llama, Side::Left, false, None),
    ] {
        let folder = Folder::new();
        folder.write(TOKENIZER, &json!({"tokenizer_class": format!("{name}Tokenizer")}));
        let tokenizer = folder.read().tokenizer;
        assert_eq!(ROLES.map(|role| tokenizer.special_tokens.of(role)), tokens, "{name}");
        assert_eq!((tokenizer.padding_side, tokenizer.token_types), (side, token_types), "{name}");
        assert_eq!(tokenizer.class.around, around, "{name}");
        let extra: Vec<&str> = tokenizer
            .special_tokens
            .all()
            .map(|token| token.content.as_str())
            .filter(|text| text.contains("NOTUSED"))
            .collect();
        let camembert = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"];
        assert_eq!(extra, if name == "Camembert" { &camembert[..] } else { &[] }, "{name}");
        let mask = tokenizer.special_tokens.all().find(|token| token.content == "<mask>");
        assert_eq!(mask.is_some_and(|mask| mask.lstrip), ["MPNet", "Camembert"].contains(&name), "{name}");
    }
}

/// transformers 5.23: `MPNetTokenizer` and `CamembertTokenizer` make `AddedToken(mask_token, lstrip=True)` of a string,
/// and take an `AddedToken` as it is.
#[test]
fn a_mask_that_is_an_object_keeps_its_spaces() {
    let folder = Folder::new();
    for (mask, lstrip) in [
        (json!("<mask>"), true),
        (json!({"content": "<mask>", "lstrip": false, "rstrip": true, "normalized": false}), false),
    ] {
        folder.write(TOKENIZER, &json!({"tokenizer_class": "MPNetTokenizer", "mask_token": mask, "cls_token": "<c>"}));
        let special = folder.read().tokenizer.special_tokens;
        let of = |content: &str| special.all().find(|token| token.content == content).unwrap().clone();
        assert_eq!(of("<mask>").lstrip, lstrip, "{mask}");
        assert!(!of("<c>").lstrip, "{mask}");
    }
}

#[test]
fn extra_tokens_of_a_class_give_way_to_a_list() {
    let folder = Folder::new();
    let settings = json!({"tokenizer_class": "CamembertTokenizer", "additional_special_tokens": ["<x>"]});
    folder.write(TOKENIZER, &settings);
    let special = folder.read().tokenizer.special_tokens;
    let contents: Vec<&str> = special.all().map(|token| token.content.as_str()).collect();
    assert!(contents.contains(&"<x>") && !contents.contains(&"<s>NOTUSED"), "{contents:?}");
}

#[test]
fn tokens_of_other_roles_count_and_other_settings_do_not() {
    let folder = Folder::new();
    folder.write(
        TOKENIZER,
        &json!({"tokenizer_class": "TokenizersBackend", "cls_token": "[CLS]", "image_token": "<img>",
                "clean_up": "no", "add_bos_token": true, "extra_special_tokens": {"audio": "<audio>"}}),
    );
    let special = folder.read().tokenizer.special_tokens;
    let contents: Vec<&str> = special.all().map(|token| token.content.as_str()).collect();
    assert_eq!(contents, ["[CLS]", "<img>", "<audio>"]);
    assert_eq!(special.of("image_token"), Some("<img>"));
}

#[test]
fn flags_of_a_token_are_read_one_by_one() {
    for flag in ["single_word", "lstrip", "rstrip", "normalized", "special"] {
        let folder = Folder::new();
        let mut token = json!({"content": "<a>", "normalized": false});
        token[flag] = json!(true);
        folder.write(TOKENIZER, &json!({"added_tokens_decoder": {"9": token}}));
        let declared = folder.read().tokenizer.special_tokens.declared.unwrap();
        let read = declared.first().unwrap();
        let flags = [
            ("single_word", read.single_word),
            ("lstrip", read.lstrip),
            ("rstrip", read.rstrip),
            ("normalized", read.normalized),
            ("special", read.special),
        ];
        assert_eq!(
            flags.map(|(name, set)| (name, set == (name == flag))),
            flags.map(|(name, _)| (name, true)),
            "{flag}"
        );
    }
    // transformers: what is not special is normalized, unless it says otherwise.
    let folder = Folder::new();
    folder.write(TOKENIZER, &json!({"added_tokens_decoder": {"9": {"content": "<a>"}}}));
    assert!(folder.read().tokenizer.special_tokens.declared.unwrap().iter().all(|token| token.normalized));
}

/// transformers 5.23: a token of `added_tokens.json` is special where it has a role.
#[test]
fn an_added_token_with_a_role_is_special() {
    let folder = Folder::new();
    folder.write("added_tokens.json", &json!({"<a>": 9, "[CLS]": 10}));
    folder.write(TOKENIZER, &json!({"cls_token": "[CLS]"}));
    let beside = folder.read().tokenizer.special_tokens.beside;
    let found: Vec<(u32, &str, bool)> =
        beside.iter().map(|(id, token)| (*id, token.content.as_str(), token.special)).collect();
    assert_eq!(found, [(9, "<a>", false), (10, "[CLS]", true)]);
    for id in [json!("9"), json!(-1), json!(4_294_967_296_u64), json!(null)] {
        folder.write("added_tokens.json", &json!({ "<a>": id }));
        folder.refused("added_tokens.json", &["<a>", "a token id is understood"]);
    }
}

#[test]
fn code_of_the_tokenizer_is_seen_in_either_form() {
    for (code, counts) in [
        (json!({"AutoTokenizer": "tokenization.Own"}), true),
        (json!(["tokenization.Own", null]), true),
        (json!({"AutoTokenizer": null}), false),
        (json!("tokenization.Own"), false),
    ] {
        let class = class_of("modernbert", Some("BertTokenizer"), json!({"auto_map": code}));
        assert_eq!(class.rebuilds == Rebuilds::WordPiece, counts, "{code}");
    }
}
