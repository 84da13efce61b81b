-- Statements that make calls, each with the fewest calls that any plan could make for it: what it asks of rows that nothing cheaper
-- has dropped, equal texts once, and of two conditions the one first that leaves fewer calls to the other. Read by
-- t/262_fewest_calls.pl and bench/topics/fewest_calls.py. :rows is replaced by a number.
--
-- A review says the answer to several questions (<say KEY>ANSWER</say>, which the echo daemon knows); its columns have them too.

-- setup
CREATE TABLE movies (id int PRIMARY KEY, title text, year int, genre text);
INSERT INTO movies SELECT i, 'movie ' || i, CASE WHEN i % 15 = 0 THEN 1999 ELSE 2000 + i % 10 END, 'genre ' || i % 6 FROM generate_series(1, 150) i;
CREATE TABLE authors (id int PRIMARY KEY, country text);
INSERT INTO authors SELECT i, 'country ' || i % 8 FROM generate_series(1, 100) i;
CREATE TABLE reviews (id int PRIMARY KEY, movie int, author int, stars int, music text, plot text, tone text, suspense int, mood text, body text, answer text);
INSERT INTO reviews SELECT i, i % 150 + 1, i * 7 % 100 + 1, i / 3 % 5 + 1, music, plot, tone, suspense, mood,
    format('review %s of the acting <say music>%s</say><say plot>%s</say><say label>%s</say><say suspense>%s</say><say acting>%s</say>', i, music, plot, tone, suspense, mood)
    FROM generate_series(1, :rows) i, LATERAL (SELECT CASE WHEN i * 7919 % 100 < 8 THEN 'yes' ELSE 'no' END AS music, CASE WHEN i * 3571 % 97 < 60 THEN 'yes' ELSE 'no' END AS plot,
        CASE WHEN i * 31 % 101 < 70 THEN 'good' WHEN i * 31 % 101 < 97 THEN 'bad' ELSE 'mixed' END AS tone, i * 13 % 89 % 11 AS suspense,
        CASE WHEN i * 17 % 83 < 40 THEN 'warm' ELSE 'cold' END AS mood) truth;
CREATE TABLE tags (movie int, tag text);
INSERT INTO tags SELECT i % 50 * 3 + 1, 'tag ' || i % 7 FROM generate_series(1, 300) i;
CREATE TABLE archive (LIKE reviews INCLUDING ALL) PARTITION BY HASH (id);
CREATE TABLE archive_0 PARTITION OF archive FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE archive_1 PARTITION OF archive FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO archive TABLE reviews;
CREATE VIEW musical AS SELECT r.*, m.year, m.genre FROM reviews r JOIN movies m ON m.id = r.movie WHERE steadytext_if('about the music', r.body);
CREATE TABLE notes (review int, said text);
ANALYZE;

-- query: a condition alone
SELECT id FROM reviews WHERE steadytext_if('about the music', body);
-- fewest
SELECT count(*) FROM reviews;

-- query: behind a cheap condition, written after it
SELECT id FROM reviews WHERE steadytext_if('about the music', body) AND stars = 1;
-- fewest
SELECT count(*) FROM reviews WHERE stars = 1;

-- query: join
SELECT r.id, m.title FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND steadytext_if('about the music', r.body);
-- fewest
SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999;

-- query: two joins
SELECT r.id FROM reviews r JOIN movies m ON m.id = r.movie JOIN authors a ON a.id = r.author WHERE m.year < 2003 AND a.country = 'country 3' AND steadytext_if('about the music', r.body);
-- fewest
SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie JOIN authors a ON a.id = r.author WHERE m.year < 2003 AND a.country = 'country 3';

-- query: IN
SELECT id FROM reviews WHERE movie IN (SELECT id FROM movies WHERE genre = 'genre 2') AND steadytext_if('about the music', body);
-- fewest
SELECT count(*) FROM reviews WHERE movie IN (SELECT id FROM movies WHERE genre = 'genre 2');

-- query: EXISTS
SELECT id FROM reviews r WHERE EXISTS (SELECT FROM tags t WHERE t.movie = r.movie AND t.tag = 'tag 3') AND steadytext_if('about the music', body);
-- fewest
SELECT count(*) FROM reviews r WHERE EXISTS (SELECT FROM tags t WHERE t.movie = r.movie AND t.tag = 'tag 3');

-- query: NOT EXISTS
SELECT id FROM reviews r WHERE NOT EXISTS (SELECT FROM tags t WHERE t.movie = r.movie) AND steadytext_if('about the music', body);
-- fewest
SELECT count(*) FROM reviews r WHERE NOT EXISTS (SELECT FROM tags t WHERE t.movie = r.movie);

-- query: an outer join between
SELECT r.id, a.country FROM reviews r LEFT JOIN authors a ON a.id = r.author + 50 JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND steadytext_if('about the music', r.body);
-- fewest
SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999;

-- query: IS NULL of an outer join
SELECT r.id FROM reviews r LEFT JOIN tags t ON t.movie = r.movie WHERE t.movie IS NULL AND steadytext_if('about the plot', r.body);
-- fewest
SELECT count(*) FROM reviews r WHERE NOT EXISTS (SELECT FROM tags t WHERE t.movie = r.movie);

-- query: two conditions
SELECT id FROM reviews WHERE steadytext_if('about the plot', body) AND steadytext_if('about the music', body);
-- fewest
SELECT count(*) + count(*) FILTER (WHERE music = 'yes') FROM reviews;

-- query: a condition and a label
SELECT id FROM reviews WHERE steadytext_if('about the plot', body) AND steadytext_classify(body, ARRAY['good', 'bad', 'mixed']) = 'mixed';
-- fewest
SELECT count(*) + count(*) FILTER (WHERE tone = 'mixed') FROM reviews;

-- query: a choice, and a label that few have
SELECT id FROM reviews WHERE steadytext_generate_choice(body, ARRAY['warm', 'cold']) = 'warm' AND steadytext_classify(body, ARRAY['good', 'bad', 'mixed']) NOT IN ('good', 'bad');
-- fewest
SELECT count(*) + count(*) FILTER (WHERE tone = 'mixed') FROM reviews;

-- query: a mark and a condition, denied
SELECT id FROM reviews WHERE NOT steadytext_if('about the music', body) AND steadytext_score('How much suspense?', body) >= 0.8;
-- fewest
SELECT count(*) + count(*) FILTER (WHERE suspense >= 8) FROM reviews;

-- query: three conditions
SELECT id FROM reviews WHERE steadytext_if('about the plot', body) AND steadytext_classify(body, ARRAY['good', 'bad', 'mixed']) = 'good' AND steadytext_if('about the music', body);
-- fewest
SELECT count(*) + count(*) FILTER (WHERE music = 'yes') + count(*) FILTER (WHERE music = 'yes' AND plot = 'yes') FROM reviews;

-- query: two conditions after a join
SELECT r.id FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.genre = 'genre 1' AND steadytext_if('about the plot', r.body) AND steadytext_if('about the music', r.body);
-- fewest
SELECT count(*) + count(*) FILTER (WHERE music = 'yes') FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.genre = 'genre 1';

-- query: a label after joins, of which PostgreSQL expects one row
SELECT r.id FROM reviews r JOIN movies m ON m.id = r.movie JOIN authors a ON a.id = r.author WHERE m.year < 2003 AND a.country = 'country 3' AND steadytext_classify(r.body, ARRAY['good', 'bad', 'mixed']) = 'mixed';
-- fewest
SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie JOIN authors a ON a.id = r.author WHERE m.year < 2003 AND a.country = 'country 3';

-- query: OR
SELECT id FROM reviews WHERE steadytext_if('about the music', body) OR stars >= 4;
-- fewest
SELECT count(*) FROM reviews WHERE stars < 4;

-- query: OR of two conditions
SELECT id FROM reviews WHERE steadytext_if('about the music', body) OR steadytext_if('about the plot', body);
-- fewest
SELECT count(*) + count(*) FILTER (WHERE plot = 'no') FROM reviews;

-- query: AND within OR
SELECT id FROM reviews WHERE (steadytext_if('about the music', body) AND stars = 2) OR (steadytext_if('about the music', body) AND stars = 4);
-- fewest
SELECT count(*) FROM reviews WHERE stars IN (2, 4);

-- query: a subquery that costs more than PostgreSQL takes a call for
SELECT id FROM reviews r WHERE steadytext_if('about the music', body) AND (SELECT count(*) FROM tags t WHERE t.movie = r.movie) > 5;
-- fewest
SELECT count(*) FROM reviews r WHERE (SELECT count(*) FROM tags t WHERE t.movie = r.movie) > 5;

-- query: a condition on two tables
SELECT r.id FROM reviews r JOIN movies m ON m.id = r.movie JOIN authors a ON a.id = r.author WHERE a.country = 'country 3' AND m.year < 2003 AND steadytext_if('about the music', m.title || ': ' || r.body);
-- fewest
SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie JOIN authors a ON a.id = r.author WHERE a.country = 'country 3' AND m.year < 2003;

-- query: a view
SELECT id FROM musical WHERE year = 1999 AND author < 50;
-- fewest
SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND author < 50;

-- query: a WITH query that is no barrier
WITH asked AS (SELECT * FROM reviews WHERE steadytext_if('about the music', body)) SELECT asked.id FROM asked JOIN movies m ON m.id = asked.movie WHERE m.year = 1999;
-- fewest
SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999;

-- query: groups
SELECT m.genre, count(*) FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND steadytext_if('about the music', r.body) GROUP BY m.genre HAVING count(*) > 0 ORDER BY 1;
-- fewest
SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999;

-- query: equal texts
SELECT r.id FROM reviews r JOIN movies m ON m.id = r.movie WHERE steadytext_if('about the music', m.title || '<say music>yes</say>');
-- fewest
SELECT count(DISTINCT m.id) FROM reviews r JOIN movies m ON m.id = r.movie;

-- query: partitions joined
SELECT r.id FROM archive r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND steadytext_if('about the music', r.body);
-- fewest
SELECT count(*) FROM archive r JOIN movies m ON m.id = r.movie WHERE m.year = 1999;

-- query: UPDATE
BEGIN; UPDATE reviews r SET answer = 'x' FROM movies m WHERE m.id = r.movie AND m.year = 1999 AND steadytext_if('about the music', r.body); ROLLBACK;
-- fewest
SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999;

-- query: DELETE
BEGIN; DELETE FROM reviews r WHERE steadytext_if('about the music', r.body) AND r.movie IN (SELECT id FROM movies WHERE year = 1999); ROLLBACK;
-- fewest
SELECT count(*) FROM reviews WHERE movie IN (SELECT id FROM movies WHERE year = 1999);

-- query: INSERT of answers behind a condition
BEGIN; INSERT INTO notes SELECT r.id, steadytext_generate(r.body) FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND steadytext_if('about the music', r.body); ROLLBACK;
-- fewest
SELECT count(*) + count(*) FILTER (WHERE music = 'yes') FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999;

-- query: answers for the first of a sort
SELECT id, steadytext_generate(body) FROM reviews ORDER BY stars, id LIMIT 10;
-- fewest
SELECT 10;

-- query: an answer where a CASE wants one
SELECT id, CASE WHEN stars = 5 THEN steadytext_generate(body) END FROM reviews;
-- fewest
SELECT count(*) FROM reviews WHERE stars = 5;
