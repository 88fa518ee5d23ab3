//! Write a buildhook plugin: one trait and a main of a few lines.
