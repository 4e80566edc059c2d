//! Both directions agree, and what cannot be is damage.

use super::*;

#[derive(Clone, Debug, Default, PartialEq)]
struct Sample {
    small: u8,
    word: u64,
    choice: char,
    maybe: Option<u16>,
    bytes: Vec<u8>,
    line: VecDeque<u8>,
    map: BTreeMap<u16, bool>,
    fixed: [u64; 3],
}

impl State for Sample {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.u8(&mut self.small)?;
        codec.u64(&mut self.word)?;
        codec.choice(&mut self.choice, &['\0', 'a', 'b'])?;
        codec.option(&mut self.maybe, |codec, value| codec.u16(value))?;
        codec.bytes(&mut self.bytes, 16)?;
        codec.queue(&mut self.line, 4)?;
        codec.map(&mut self.map, 3, |codec, key, value| {
            codec.u16(key)?;
            codec.bool(value)
        })?;
        codec.words(&mut self.fixed)
    }
}

fn sample() -> Sample {
    Sample {
        small: 7,
        word: u64::MAX,
        choice: 'b',
        maybe: Some(300),
        bytes: b"hello".to_vec(),
        line: VecDeque::from([1, 2]),
        map: BTreeMap::from([(1, true), (9, false)]),
        fixed: [1, 2, 3],
    }
}

#[test]
fn what_is_loaded_is_what_was_saved() {
    let saved = save(&mut sample());
    let mut other = Sample { maybe: None, bytes: vec![9; 12], ..Sample::default() };
    load(&mut other, &saved).unwrap();
    assert_eq!(other, sample());
}

#[test]
fn a_state_that_ends_early_or_late_is_damaged() {
    let saved = save(&mut sample());
    for len in 0..saved.len() {
        assert!(load(&mut Sample::default(), &saved[..len]).is_err(), "{len} bytes");
    }
    let longer = [&saved[..], &[0]].concat();
    assert!(load(&mut Sample::default(), &longer).is_err());
}

#[test]
fn no_damaged_byte_makes_a_state_that_cannot_be() {
    let saved = save(&mut sample());
    for at in 0..saved.len() {
        for value in [0, 1, 2, 0x7f, 0xff] {
            let mut bytes = saved.clone();
            bytes[at] = value;
            let mut other = Sample::default();
            if load(&mut other, &bytes).is_ok() {
                assert_eq!(save(&mut other), bytes, "byte {at} is {value}");
            }
        }
    }
}

#[test]
fn a_length_is_only_a_promise() {
    let mut bytes = Vec::new();
    Codec::Save(&mut bytes).u64(&mut (1 << 40)).unwrap();
    let mut list: Vec<u64> = Vec::new();
    let mut codec = Codec::Load(&bytes);
    let loaded = codec.list(&mut list, usize::MAX, |codec, word| codec.u64(word));
    assert_eq!(loaded, Err(Damaged { what: "it ends early" }));
    assert!(Codec::Load(&bytes).bytes(&mut Vec::new(), usize::MAX).is_err());
}
