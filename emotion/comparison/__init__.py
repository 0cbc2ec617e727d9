"""Every recognition system side by side: one arena a kind of data, one table for all."""
