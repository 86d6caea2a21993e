//! Phrases that say what a turn is for: an acknowledgement, or that the other side has to wait.
//!
//! Lists, not models: the same turn always gives the same answer, and a language that is not listed gives none.

use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;

/// More words than this are no mere acknowledgement.
const MOST_BACKCHANNEL_WORDS: usize = 3;
/// Longer texts are neither looked at as a whole nor to their beginning, in bytes.
const LONGEST_BACKCHANNEL: usize = 120;
const ANNOUNCEMENT_TAIL: usize = 400;

/// Words that acknowledge without taking the floor, alone or up to three in a row: English, German, French, Spanish, Italian,
/// Portuguese, Dutch, Polish, Russian, Turkish.
const ACKNOWLEDGING_WORDS: &str = "mhm mm mmm mmhm mmhmm hm hmm uh um ah oh aha uhm huh yeah yea yep yup yes ok okay okey okie \
    right sure alright fine good great nice cool perfect true really exactly indeed absolutely understood correct \
    ja jaja jo jawohl genau gut klar richtig stimmt verstehe schön \
    oui ouais voilà exact bien parfait compris \
    sí si vale claro bueno ya ajá entiendo exacto correcto perfecto \
    sì certo bene capito esatto giusto perfetto \
    sim tá certo bom claro isso pois entendi exato \
    goed precies inderdaad klopt oké \
    tak dobrze jasne rozumiem właśnie aha \
    да ага угу хорошо понятно ясно верно так \
    evet tamam peki anladım hı";

/// Whole acknowledgements of words that mean more elsewhere, and those of scripts without blanks.
const ACKNOWLEDGEMENTS: &str = "i see, got it, all right, of course, go on, go ahead, uh huh, mm hmm, i know, that's right, \
    makes sense, i understand, sounds good, for sure, no problem, alles klar, ach so, in ordnung, na klar, d'accord, bien sûr, je vois, ça marche, \
    de acuerdo, por supuesto, está bien, ya veo, va bene, d'accordo, ho capito, tudo bem, está bem, com certeza, in orde, \
    ik snap het, w porządku, я понимаю, はい, うん, うんうん, ええ, そう, そうですね, そうですか, なるほど, わかりました, \
    はいはい, 嗯, 嗯嗯, 好, 好的, 对, 对对, 对对对, 是, 是的, 明白, 知道了, 行, 可以, 네, 예, 응, 그래요, 맞아요, 알겠습니다, हाँ, हां, ठीक है, अच्छा, نعم, طيب, حسنا, تمام, כן, בסדר";

/// What announces a wait.
const HOLD_PHRASES: &str = "please hold, hold please, hold on, hold the line, hold for a, you on hold, one moment, just a moment, \
    a moment please, moment please, one second, just a second, one sec, just a sec, one minute please, just a minute, give me a moment, \
    give me a second, give me a minute, bear with me, bear with us, stay on the line, remain on the line, wait a moment, \
    wait a second, wait a minute, please wait, while i check, while i look, while i transfer, while i connect, \
    einen moment, einen kleinen moment, einen augenblick, kleinen augenblick, moment bitte, augenblick bitte, \
    bleiben sie dran, bleiben sie in der leitung, bitte warten, warten sie bitte, eine sekunde, eine minute bitte, \
    un instant, un moment, une seconde, une minute s'il vous plaît, ne quittez pas, patientez, veuillez patienter, \
    restez en ligne, un momento, un momentito, un segundo, espere, no cuelgue, permanezca en línea, manténgase en línea, \
    un attimo, un secondo, resti in linea, attenda, um momento, um momentinho, um instante, um segundo, aguarde, \
    não desligue, een moment, een momentje, momentje, een ogenblik, blijf aan de lijn, blijft u aan de lijn, chwileczkę, \
    proszę czekać, proszę poczekać, одну минуту, минуточку, подождите, оставайтесь на линии, bir dakika, bir saniye, \
    lütfen bekleyin, hatta kalın, 少々お待ちください, お待ちください, お待ち下さい, 请稍等, 稍等, 请等, 잠시만, 잠깐만";

static ACKNOWLEDGING: LazyLock<HashSet<&'static str>> = LazyLock::new(|| ACKNOWLEDGING_WORDS.split_whitespace().collect());
static WHOLE_ACKNOWLEDGEMENTS: LazyLock<HashSet<String>> = LazyLock::new(|| ACKNOWLEDGEMENTS.split(',').map(plain).collect());
static HOLDS: LazyLock<Vec<String>> = LazyLock::new(|| HOLD_PHRASES.split(',').map(plain).collect());

/// Returns whether what was said is a mere acknowledgement ("mhm", "yeah, ok", "je vois"): a short one, of nothing else.
pub fn is_backchannel(text: &str) -> bool {
    if text.len() > LONGEST_BACKCHANNEL {
        return false;
    }
    let plain = plain(text);
    if WHOLE_ACKNOWLEDGEMENTS.contains(&plain) {
        return true;
    }
    let mut words = plain.split_whitespace();
    let acknowledging = words.by_ref().take(MOST_BACKCHANNEL_WORDS).all(|word| ACKNOWLEDGING.contains(word));
    acknowledging && words.next().is_none() && !plain.trim().is_empty()
}

/// Returns whether a turn ends by announcing a wait: in its last sentence, or in the one before unless the last asks something.
pub(crate) fn announces_hold(text: &str) -> bool {
    let tail = tail(text, ANNOUNCEMENT_TAIL);
    let sentences: Vec<&str> = tail.unicode_sentences().collect();
    let Some((last, before)) = sentences.split_last() else { return false };
    let asks = last.trim_end().ends_with(['?', '？', '؟']);
    holds(last) || (!asks && before.last().is_some_and(|sentence| holds(sentence)))
}

/// Returns whether a note of the platform says that somebody is on hold.
pub(crate) fn says_on_hold(note: &str) -> bool {
    plain(tail(note, ANNOUNCEMENT_TAIL)).contains(" on hold ")
}

fn holds(sentence: &str) -> bool {
    let plain = plain(sentence);
    HOLDS.iter().any(|phrase| plain.contains(phrase.as_str()))
}

/// Returns the words of a text, each between blanks, in small letters and without punctuation.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 2);
    plain.push(' ');
    for word in text.to_lowercase().replace('’', "'").unicode_words() {
        plain.push_str(word);
        plain.push(' ');
    }
    plain
}

fn tail(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_acknowledgements_are_backchannels_in_several_languages() {
        for text in [
            "mhm",
            "Mm-hmm.",
            "Uh-huh…",
            "Yeah, yeah.",
            "OK",
            "right, right, right",
            "I see.",
            "That’s right!",
            "Ja, genau",
            "ach so",
            "Sí",
            "si, claro",
            "Oui, oui",
            "D’accord.",
            "va bene",
            "tá bom",
            "はい。",
            "そうですね",
            "好的",
            "네",
            "ठीक है",
            "да, хорошо",
            "نعم",
        ] {
            assert!(is_backchannel(text), "{text:?}");
        }
    }

    #[test]
    fn whoever_says_more_takes_the_floor() {
        for text in [
            "",
            " ",
            "…",
            "👍",
            "no",
            "wait",
            "stop",
            "yeah but",
            "ok ok ok ok",
            "I see a problem",
            "yes I want to cancel",
            "你好",
        ] {
            assert!(!is_backchannel(text), "{text:?}");
        }
        assert!(!is_backchannel(&"ok ".repeat(100_000)));
    }

    #[test]
    fn a_wait_is_announced_at_the_end_of_a_turn() {
        for text in [
            "Please hold.",
            "Sure. One moment, please!",
            "One moment. I am looking at your account.",
            "Could you hold on?",
            "Einen Moment, bitte.",
            "Ne quittez pas…",
            "Un momento, por favor.",
            "少々お待ちください。",
            "请稍等",
            "I'll put you on hold.",
        ] {
            assert!(announces_hold(text), "{text:?}");
        }
        for text in [
            "",
            "Thanks for waiting.",
            "The household ones are sold out.",
            "One moment. Can I have your name?",
            "Please hold. That was the message. Here is your answer.",
            "Welcome!",
        ] {
            assert!(!announces_hold(text), "{text:?}");
        }
        assert!(announces_hold(&format!("{} Please hold.", "é".repeat(1_000_000))));
    }
}
