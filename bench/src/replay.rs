//! The floor's version of any operation: the very commands it was seen to send, and nothing around them.

use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::capture::{Command, commands_of};
use crate::floor::Floor;
use crate::measure::Load;

/// Sends a captured command again and again, on the floor.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    floor: Floor,
    /// That of each task, if theirs differ, or the one of all.
    commands: Arc<[Command]>,
    task: usize,
}

impl Replay {
    /// Sends what one step of `ours` sends as a command called `verb`.
    ///
    /// # Errors
    /// Those of `ours`; if it did not send one such command.
    pub(crate) async fn of(port: u16, verb: &str, ours: &impl Load) -> Result<Self> {
        Self::of_tasks(port, verb, ours, 1).await
    }

    /// Each task sends what a step of the same task of `ours` sends.
    ///
    /// # Errors
    /// Those of `ours`; if a step did not send one such command.
    pub(crate) async fn of_tasks(
        port: u16,
        verb: &str,
        ours: &impl Load,
        tasks: usize,
    ) -> Result<Self> {
        // The first time scripts are sent in full.
        ours.clone().step().await?;
        let each = async {
            for task in 0..tasks {
                ours.for_task(task).step().await?;
            }
            Ok(())
        };
        let commands = commands_of(port, verb, each).await?;
        ensure!(
            commands.len() == tasks,
            "{} commands called {verb}, not {tasks}",
            commands.len()
        );
        Ok(Self {
            floor: Floor::connect(("127.0.0.1", port)).await?,
            commands: commands.into(),
            task: 0,
        })
    }
}

impl Load for Replay {
    async fn step(&mut self) -> Result<()> {
        let command = &self.commands[self.task % self.commands.len()];
        self.floor.call(&slices(command)).await?;
        Ok(())
    }

    fn for_task(&self, task: usize) -> Self {
        Self {
            task,
            ..self.clone()
        }
    }
}

/// As the floor takes it.
pub(crate) fn slices(command: &Command) -> Vec<&[u8]> {
    command.iter().map(Vec::as_slice).collect()
}
