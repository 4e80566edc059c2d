//! What HU-mode software may do: the interface between the VM plane and DV-ext.
#![forbid(unsafe_code)]
