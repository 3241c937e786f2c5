//! Exchanges with each other, their jobs done at once or not at all.

mod asking;
mod serving;
mod world;

use std::time::Duration;

use self::world::{Node, World, held, root_topic};
use super::*;
use crate::types::{KeyId, RootTopic, SideTopic};
