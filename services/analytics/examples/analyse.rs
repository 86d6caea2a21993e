//! Says how long the analysis of a turn takes: of the providers' samples, and of a long conversation.
//!
//! `cargo run --release -p colloquy-analytics --example analyse`

#![allow(clippy::unwrap_used, reason = "a measurement that cannot be taken should stop")]

#[path = "../tests/analysis/samples.rs"]
mod samples;

use std::time::{Duration, Instant};

use colloquy_analytics::analysis::{Rules, analyse};
use colloquy_analytics::input::Input;
use colloquy_events::{Role, Turn};
use colloquy_types::TurnId;

fn main() {
    let rules = Rules::default();
    let samples = samples::all();
    // Lexicons are built by the first.
    samples.iter().for_each(|(_, input)| drop(analyse(input, &rules)));
    for (name, input) in &samples {
        if !input.turns.is_empty() {
            report(name, input, &rules, 200);
        }
    }
    for turns in [20, 100, 1_000, 10_000] {
        report("long conversation", &long(&samples[0].1, turns), &rules, 20_000 / turns);
    }
}

fn report(name: &str, input: &Input, rules: &Rules, repeats: usize) {
    let started = Instant::now();
    for _ in 0..repeats {
        drop(std::hint::black_box(analyse(std::hint::black_box(input), rules)));
    }
    let one: Duration = started.elapsed() / u32::try_from(repeats).unwrap();
    let turns = input.turns.len();
    println!("{name:55} {turns:6} turns {:9.1} µs {:7.1} µs a turn", micros(one), micros(one) / turns as f64);
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn long(like: &Input, turns: usize) -> Input {
    let lines = [
        (Role::Agent, "Thank you for calling, my name is Ada, how can I help you today?"),
        (Role::User, "Hi, my internet is not working since yesterday and I have already restarted the router twice."),
        (Role::Agent, "I am sorry to hear that. Could you tell me which of the lights on the router are blinking right now?"),
        (Role::User, "The second one is red, and the app says that there is no connection at all. This is really annoying."),
        (Role::Agent, "Let me run a quick test of your line, this takes about half a minute."),
        (Role::User, "Okay, thank you."),
    ];
    let id = like.record.conversation_id;
    let turns = lines.iter().cycle().take(turns).zip(0_i64..).map(|((role, text), place)| Turn {
        text: Some((*text).to_owned()),
        start_ms: Some(place * 4_000),
        end_ms: Some(place * 4_000 + 3_200),
        ..Turn::new(TurnId::derive(id, &place.to_string()), *role)
    });
    Input { turns: turns.collect(), record: like.record.clone() }
}
