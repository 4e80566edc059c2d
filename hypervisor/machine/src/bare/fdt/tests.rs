//! The device tree as a reader of the format sees it.

use std::collections::BTreeMap;

use isa::{Ext, Extensions};

use super::super::config::{Boot, dump_dtb};
use super::*;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const END: u32 = 9;

fn word(blob: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(blob[at..at + 4].try_into().unwrap())
}

fn name(blob: &[u8], at: usize) -> String {
    let end = blob[at..].iter().position(|byte| *byte == 0).unwrap();
    String::from_utf8(blob[at..at + end].to_vec()).unwrap()
}

/// Every property by its path.
fn properties(blob: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let (mut at, strings) = (word(blob, 8) as usize, word(blob, 12) as usize);
    let mut path: Vec<String> = Vec::new();
    let mut found = BTreeMap::new();
    loop {
        let token = word(blob, at);
        at += 4;
        match token {
            BEGIN_NODE => {
                let node = name(blob, at);
                at += (node.len() + 4) & !3;
                path.push(node);
            }
            END_NODE => assert!(path.pop().is_some()),
            PROPERTY => {
                let len = word(blob, at) as usize;
                let key = name(blob, strings + word(blob, at + 4) as usize);
                let value = blob[at + 8..at + 8 + len].to_vec();
                at += 8 + ((len + 3) & !3);
                found.insert(format!("{}/{key}", path.join("/")), value);
            }
            END => return found,
            _ => panic!("token {token}"),
        }
    }
}

fn cells(value: &[u8]) -> Vec<u32> {
    (0..value.len() / 4).map(|i| word(value, 4 * i)).collect()
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

#[test]
fn describes_the_machine() {
    let config = BareConfig { harts: 2, cmdline: "quiet".into(), ..BareConfig::new("t", 1 << 26) };
    let tree = properties(&dump_dtb(&config).unwrap());
    assert_eq!(text(&tree["/chosen/bootargs"]), "quiet");
    assert_eq!(cells(&tree["/memory@80000000/reg"]), [0, 0x8000_0000, 0, 1 << 26]);
    assert_eq!(cells(&tree["/cpus/timebase-frequency"]), [10_000_000]);
    let isa = text(&tree["/cpus/cpu@1/riscv,isa"]);
    assert!(isa.starts_with("rv64imafdch_"), "{isa}");
    assert!(!isa.contains("xdv"));
    assert_eq!(text(&tree["/cpus/cpu@0/mmu-type"]), "riscv,sv57");
    assert_eq!(cells(&tree["/cpus/cpu@0/riscv,cboz-block-size"]), [64]);
    let hart =
        |hart: usize| cells(&tree[&format!("/cpus/cpu@{hart}/interrupt-controller/phandle")])[0];
    let (zero, one) = (hart(0), hart(1));
    let clint = cells(&tree["/soc/clint@2000000/interrupts-extended"]);
    assert_eq!(clint, [zero, 3, zero, 7, one, 3, one, 7]);
    let plic = cells(&tree["/soc/plic@c000000/interrupts-extended"]);
    assert_eq!(plic, [zero, 11, zero, 9, one, 11, one, 9]);
    assert_eq!(cells(&tree["/soc/serial@10000000/interrupts"]), [10]);
    assert!(tree.contains_key("/soc/virtio_mmio@10002000/reg"));
    assert!(!tree.contains_key("/soc/virtio_mmio@10001000/reg"), "there is no disk");
    assert_eq!(cells(&tree["/reboot/value"]), [0x7777]);
}

#[test]
fn leaves_out_what_the_harts_do_not_have() {
    let isa = Extensions::ALL.without(Ext::H).without(Ext::Zicboz).without(Ext::Xdv);
    let disk: super::super::AnyDisk = Box::new(std::sync::Arc::<[u8]>::from(vec![0; 512]));
    let config = BareConfig { isa, disk: Some(disk), ..BareConfig::new("t", 1 << 26) };
    let tree = properties(&dump_dtb(&config).unwrap());
    assert!(text(&tree["/cpus/cpu@0/riscv,isa"]).starts_with("rv64imafdc_"));
    assert!(!tree.contains_key("/cpus/cpu@0/riscv,cboz-block-size"));
    assert!(tree.contains_key("/soc/virtio_mmio@10001000/reg"));
}

#[test]
fn a_users_device_tree_is_looked_at() {
    let ours = dump_dtb(&BareConfig::new("t", 1 << 26)).unwrap();
    let with = |dtb: Vec<u8>| {
        let boot = Boot::DeviceTree;
        dump_dtb(&BareConfig { dtb: Some(dtb), boot, ..BareConfig::new("t", 1 << 26) })
    };
    let longer: Vec<u8> = ours.iter().copied().chain([0; 9]).collect();
    assert_eq!(with(longer).unwrap(), ours);
    assert!(with(ours[..ours.len() - 1].to_vec()).is_err());
    assert!(with(b"#include <dt-bindings>".to_vec()).is_err());
    assert!(with(Vec::new()).is_err());
}

#[test]
fn initrd_is_named_where_it_lies() {
    let initrd = Some(vec![1; 5000]);
    let config = BareConfig { initrd, boot: Boot::DeviceTree, ..BareConfig::new("t", 1 << 26) };
    let tree = properties(&dump_dtb(&config).unwrap());
    let end = 0x8000_0000 + (1 << 26) - 8192 + 5000;
    assert_eq!(cells(&tree["/chosen/linux,initrd-end"]), [0, end]);
}
