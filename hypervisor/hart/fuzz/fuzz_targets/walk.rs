//! Translation against the naive walker, as `tests/it/walk.rs` does, with the fuzzer's choices.
#![no_main]

use hart::{AccessFault, Bus, Change, Post, Touch, Writer};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/model.rs"]
mod model;
#[path = "../../tests/it/naive.rs"]
mod naive;
#[path = "../../tests/it/ram.rs"]
mod ram;
mod rng;
#[path = "../../tests/it/tables.rs"]
mod tables;
#[path = "../../tests/it/words.rs"]
mod words;
#[path = "../../tests/it/world.rs"]
mod world;

use model::Model;
use rng::Rng;
use world::{World, step};

fuzz_target!(|data: &[u8]| {
    let Some((seed, choices)) = data.split_first_chunk() else { return };
    let seed = u64::from(u32::from_le_bytes(*seed));
    let mut world = World::new(&mut Rng::new(seed, &[]));
    let mut rng = Rng::new(seed + 1, choices);
    let mut model = Model::new();
    let mut last = [0; 2];
    // A step takes about ten numbers; those after the fuzzer's bytes come from the seed.
    for _ in 0..8 + choices.len() / 10 {
        world.disturb(&mut rng);
        world.aim(&mut rng, &mut last);
        step(&mut world, &mut model);
    }
});
