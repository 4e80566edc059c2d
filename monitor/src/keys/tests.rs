//! The registry has no orphan, no duplicate, no command that needs a chord.

use super::*;
use crate::model::CONTEXT_SETS;

#[test]
fn no_key_means_two_things_in_one_place() {
    for set in CONTEXT_SETS {
        let mut seen = Vec::new();
        for row in REGISTRY.iter().filter(|row| set.contains(&row.context)) {
            for key in row.keys {
                assert!(!seen.contains(key), "{key} twice in {set:?}");
                seen.push(*key);
            }
        }
    }
}

#[test]
fn every_row_can_be_reached_and_is_explained() {
    for row in REGISTRY {
        assert!(CONTEXT_SETS.iter().any(|set| set.contains(&row.context)), "{:?}", row.action);
        assert!(!row.keys.is_empty() && !row.help.is_empty(), "{:?}", row.action);
        assert!(row.help.len() <= 48, "{:?}: help is cut at 80 columns", row.action);
        for set in CONTEXT_SETS.iter().filter(|set| set.contains(&row.context)) {
            for key in row.keys {
                assert_eq!(lookup(set, *key), Some(row.action), "{key} in {set:?}");
            }
        }
    }
}

#[test]
fn no_action_is_listed_twice() {
    let mut seen = std::collections::BTreeSet::new();
    for row in REGISTRY {
        assert!(seen.insert(row.action), "{:?}", row.action);
    }
}

/// Suspend and redraw have the chords of every terminal program; the prefix must be a chord,
/// because every plain key belongs to the guest there.
#[test]
fn no_command_needs_a_chord() {
    for row in REGISTRY {
        let by_custom = [Action::Redraw, Action::Suspend, Action::Prefix].contains(&row.action);
        let plain = row.keys.iter().any(|key| !key.ctrl && !key.alt);
        assert!(plain || by_custom, "{:?} is chord-only", row.action);
    }
}

/// Without the kitty protocol these are Tab, Enter, Esc and Backspace.
#[test]
fn no_chord_that_a_terminal_cannot_tell_apart() {
    for key in REGISTRY.iter().flat_map(|row| row.keys) {
        if let (true, Code::Char(c)) = (key.ctrl, key.code) {
            assert!(!"im[h".contains(c), "{key}");
        }
    }
}
