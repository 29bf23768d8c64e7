-- No job was seen in the queue after its third death.
SELECT f.* FROM fleet f WHERE f.deaths_most > 2
