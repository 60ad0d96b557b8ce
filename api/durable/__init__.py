"""Durable work: tasks that outlive the process that accepted them, executed by DBOS."""
