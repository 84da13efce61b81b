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
# defaults are left out. {calls}: a row for each function, with harmless texts; {full}: with all its arguments.
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
    my $full = $options{full} ? 'true' : 'false';
    my $select = $options{calls}
        ? qq(f.name || chr(9) || '-' || chr(9) || format('SELECT %s.%I(%s)', f.schema, f.proname, (SELECT string_agg(v.harmless, ', ' ORDER BY v.place)
            FROM values_of v WHERE v.oid = f.oid AND (v.required OR $full))) FROM functions f ORDER BY 1)
        : q(v.name || chr(9) || v.argument || chr(9) || format('SELECT %s.%I(%s)', v.schema, v.proname, (SELECT string_agg(
            CASE WHEN a.argument = '' THEN '' ELSE quote_ident(a.argument) || ' => ' END || CASE WHEN a.place = v.place THEN a.attack ELSE a.harmless END, ', ' ORDER BY a.place)
            FROM values_of a WHERE a.oid = v.oid AND (a.required OR a.place = v.place))) FROM values_of v WHERE v.attack IS NOT NULL ORDER BY 1);
    return map { [ split /\t/ ] } split /\n/, $cluster->sql(sprintf($sql, $select), %{ $options{in} // {} });
}

# Everything that the extension's SQL names, found in its functions' bodies and in the texts of the C++ sources: words that are followed by
# a bracket, types that are cast to, relations without a schema, and operators.
sub names_in_sql {
    my ($cluster) = @_;
    my $sql = $cluster->sql(q(SELECT string_agg(p.prosrc, E'\n') FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_steadytext' JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname <> 'c'));
    for my $file (glob("$SteadyText::Cluster::ROOT/{src,bgworker}/*.cpp"), glob("$SteadyText::Cluster::ROOT/src/*/*.cpp"), "$SteadyText::Cluster::ROOT/sql/from_original.sql") {
        open my $source, '<', $file or die "$file: $!";
        my $text = do { local $/; <$source> };
        $sql .= "\n$text" and next if $file =~ /\.sql$/;
        $sql .= "\n$1" while $text =~ /R"\((.*?)\)"/gs;
        $sql .= "\n$1" while $text =~ /"((?:[^"\\\n]|\\.)*\b(?:SELECT|FROM|WHERE|UPDATE|INSERT|DELETE|VALUES|jsonb_build_object)\b(?:[^"\\\n]|\\.)*)"/g;
    }
    my %functions = map { lc($_) => 1 } $sql =~ /(?<![.\w])([A-Za-z_]\w*)\s*\(/g, $sql =~ /pg_catalog\.(\w+)\s*\(/g;
    my %types     = map { lc($_) => 1 } $sql =~ /::\s*(?:pg_catalog\.)?([a-z_]\w*)/g, $sql =~ /^\s+\w+ (?:CONSTANT )?([a-z]\w*)(?:\[\])?(?: :=|;)/gm;
    my %relations = map { $_ => 1 } $sql =~ /\b(?:FROM|JOIN) (pg_\w+)/g, $sql =~ /\bpublic\.(steadytext_\w+)/g;
    my %operators = map { $_ => 1 } grep { !/--|\/\*/ } $sql =~ m{(?<=[\s\w)'])(\|\||->>|->|#>>|\?|@>|<>|<=|>=|!~|[-+*/<>=~])(?=[\s\w('])}g;
    return (functions => [ sort keys %functions ], types => [ sort keys %types ], relations => [ sort keys %relations ], operators => [ sort keys %operators, '~~', '!~~' ]);
}

# A script for a role that owns the schema snare and may create in public. In snare it puts a function for each of PostgreSQL's that is
# called, with the very same arguments, an operator for each that is used, a domain for each type, a table for each relation, a type with
# implicit casts from everything to it; unless {foreign}, in public an overload of every function of the extension for each number of arguments it can be called
# with, and for each other type that an argument is likely to have. Each writes `trojan NAME ran as USER` to the log.
sub snares {
    my (%names) = @_;
    my $list = sub { "'{" . join(',', map { qq("$_") } @{ $names{ $_[0] } }) . "}'::pg_catalog.text[]" };
    my $script = <<'SQL';
SET search_path = pg_catalog;
CREATE FUNCTION snare.spring(what text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'trojan % ran as %', what, current_user; RETURN true; END $$;
CREATE TYPE snare.mine AS (a int);
DO $do$
DECLARE
    each record; made int := 0; place int := 0; body text;
BEGIN
    -- PostgreSQL's functions and aggregates, by their very arguments.
    FOR each IN SELECT DISTINCT ON (p.proname, p.proargtypes) p.proname, pg_get_function_identity_arguments(p.oid) AS arguments,
                       ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes) t) AS types, pg_get_function_result(p.oid) AS result
                FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (FUNCTIONS) LOOP
        body := format('BEGIN PERFORM snare.spring(%L); RETURN%s; END', 'function ' || each.proname, CASE WHEN each.result ~ '^(SETOF|TABLE|void)' THEN '' ELSE ' NULL' END);
        BEGIN
            EXECUTE format('CREATE FUNCTION snare.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', each.proname, array_to_string(each.types, ', '), each.result, body);
            made := made + 1;
        EXCEPTION WHEN OTHERS THEN NULL;  -- of internal types, or "any"
        END;
    END LOOP;
    -- Its operators.
    FOR each IN SELECT o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r, o.oprresult::regtype AS result FROM pg_operator o
                WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprname = ANY (OPERATORS) AND o.oprkind = 'b' LOOP
        place := place + 1;
        BEGIN
            EXECUTE format('CREATE FUNCTION snare.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', place, each.l, each.r, each.result,
                format('BEGIN PERFORM snare.spring(%L); RETURN NULL; END', format('operator %s on %s', each.oprname, each.l)));
            EXECUTE format('CREATE OPERATOR snare.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = snare.operator_%s)', each.oprname, each.l, each.r, place);
            made := made + 1;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    -- Its types and relations, and those of the extension.
    FOR each IN SELECT t.typname FROM pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typname = ANY (TYPES) AND t.typtype = 'b' LOOP
        EXECUTE format('CREATE DOMAIN snare.%I AS pg_catalog.%I CHECK (snare.spring(%L))', each.typname, each.typname, 'type ' || each.typname);
        made := made + 1;
    END LOOP;
    FOR each IN SELECT unnest(RELATIONS) AS name LOOP
        EXECUTE format('CREATE VIEW snare.%I AS SELECT snare.spring(%L) AS key', each.name, 'relation ' || each.name);
        made := made + 1;
    END LOOP;
    -- A type of one's own into which everything may be cast, and operators on it.
    FOR each IN SELECT unnest('{text,name,int4,int8,float8,bool,uuid,jsonb,interval,timestamptz}'::text[]) AS type LOOP
        EXECUTE format('CREATE FUNCTION snare.as_mine(pg_catalog.%I) RETURNS snare.mine LANGUAGE plpgsql AS %L', each.type, format('BEGIN PERFORM snare.spring(%L); RETURN NULL; END', 'cast of ' || each.type));
        EXECUTE format('CREATE CAST (pg_catalog.%I AS snare.mine) WITH FUNCTION snare.as_mine(pg_catalog.%I) AS IMPLICIT', each.type, each.type);
        EXECUTE format('CREATE FUNCTION snare.with_mine(pg_catalog.%I, snare.mine) RETURNS bool LANGUAGE plpgsql AS %L', each.type, format('BEGIN PERFORM snare.spring(%L); RETURN true; END', 'operator on ' || each.type || ' and mine'));
        EXECUTE format('CREATE OPERATOR snare.= (LEFTARG = pg_catalog.%I, RIGHTARG = snare.mine, FUNCTION = snare.with_mine)', each.type);
        made := made + 3;
    END LOOP;
    RAISE NOTICE 'snare: %', made;
    -- Overloads.
    made := 0;
    FOR each IN SELECT DISTINCT p.proname, s.types
                FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                     JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_steadytext',
                     generate_series(greatest(p.pronargs - p.pronargdefaults, 0), p.pronargs) AS n (count),
                     LATERAL (SELECT ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY u (t, i) WHERE i <= n.count ORDER BY i) AS types
                              UNION ALL
                              SELECT ARRAY(SELECT CASE WHEN i <> changed.place THEN format_type(t, NULL) ELSE changed.type END FROM unnest(p.proargtypes) WITH ORDINALITY u (t, i) WHERE i <= n.count ORDER BY i)
                              FROM (SELECT c.i AS place, v.other AS type FROM unnest(p.proargtypes) WITH ORDINALITY c (t, i)
                                    JOIN (VALUES ('text', 'name'), ('text', 'varchar'), ('text', 'snare.mine'), ('name', 'text'), ('int4', 'int8'), ('int4', 'int2'), ('int8', 'int4'), ('float8', 'numeric'),
                                                 ('float8', 'int4'), ('jsonb', 'text'), ('jsonb', 'json'), ('bool', 'text'), ('uuid', 'text'), ('interval', 'text')) v (type, other) ON v.type::regtype = c.t
                                    WHERE c.i <= n.count) changed) s
                WHERE OWN AND p.pronamespace = 'public'::regnamespace AND p.prokind = 'f' AND NOT 'trigger'::regtype = p.prorettype LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS text LANGUAGE plpgsql AS %L', each.proname, array_to_string(each.types, ', '),
                format('BEGIN PERFORM snare.spring(%L); RETURN NULL; END', format('overload %s(%s)', each.proname, array_to_string(each.types, ', '))));
            made := made + 1;
        EXCEPTION WHEN duplicate_function THEN NULL;
        END;
    END LOOP;
    RAISE NOTICE 'overloads: %', made;
END $do$;
SQL
    my $own = $names{foreign} ? 'false' : 'true';
    $script =~ s/\bOWN\b/$own/;
    for my $what (qw(functions operators types relations)) {
        my ($mark, $value) = (uc $what, $list->($what));
        $script =~ s/\b$mark\)/$value)/g;
    }
    return $script;
}

# A script that plants, in each schema where its role may create, as the catalog says, what a call with literals, NULLs and defaults could mean instead
# of what it names: of every function that the extension's SQL calls (names_in_sql) and of every function of its own ({foreign}: these not in public), overloads for
# each number of arguments with one or all types that are like those wanted: other strings and numbers, domains, anything at all, a VARIADIC list. It needs
# the schema snare with its spring() (snares); NOTICE `likenesses: N`.
sub likenesses {
    my ($names, %options) = @_;
    my $functions = "'{" . join(',', map { qq("$_") } @{ $names->{functions} }) . "}'::pg_catalog.text[]";
    my $script = <<'SQL';
SET search_path = pg_catalog;
DO $do$
DECLARE
    target name; each record; made int := 0; before int;
BEGIN
    CREATE TEMP TABLE likeness ON COMMIT DROP AS
    WITH wanted AS (
        SELECT p.proname, p.pronamespace <> 'pg_catalog'::regnamespace AS own, ARRAY(SELECT t FROM unnest(p.proargtypes) WITH ORDINALITY u (t, i) WHERE i <= n.count ORDER BY i) AS types
        FROM pg_proc p, generate_series(greatest(p.pronargs - p.pronargdefaults, 0), p.pronargs) AS n (count)
        WHERE p.prorettype <> 'trigger'::regtype AND p.pronargs <= 10
          AND (p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (FUNCTIONS) AND p.pronargs <= 4
               OR EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_steadytext'
                                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))),
    alike (kind, other) AS (
        SELECT k, o FROM (VALUES ('S', '{text,varchar,name,bpchar,"\"char\"",%s.text_like,anyelement,anynonarray}'::text[]), ('N', '{int4,int8,int2,numeric,float4,%s.int_like,anyelement}'),
            ('B', '{text,int4,anyelement}'), ('D', '{timestamp,date,text,anyelement}'), ('T', '{text,anyelement}'), ('A', '{anyarray,anyelement,text}'), ('U', '{text,json,varchar,anyelement}'), ('P', '{text,int4,varchar}')) v (k, o)),
    one AS (
        SELECT w.proname, w.own, (SELECT string_agg(CASE WHEN i = c.place THEN o ELSE format_type(t, NULL) END, ', ' ORDER BY i) FROM unnest(w.types) WITH ORDINALITY u (t, i)) AS arguments
        FROM wanted w, unnest(w.types) WITH ORDINALITY c (type, place) JOIN pg_type y ON y.oid = c.type JOIN alike a ON a.kind = y.typcategory, unnest(a.other) o),
    every AS (
        SELECT w.proname, w.own, repeat(o || ', ', cardinality(w.types) - 1) || o FROM wanted w, unnest('{text,varchar,name,int4,int8,int2,anyelement,%s.text_like,%s.int_like}'::text[]) o WHERE cardinality(w.types) > 0),
    lists AS (
        SELECT w.proname, w.own, concat_ws(', ', (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY i) FROM unnest(w.types) WITH ORDINALITY u (t, i) WHERE i <= n), 'VARIADIC ' || o)
        FROM wanted w, generate_series(0, cardinality(w.types)) n, unnest('{text[],int4[],name[],anyarray,"\"any\""}'::text[]) o)
    SELECT * FROM one UNION SELECT * FROM every UNION SELECT * FROM lists;
    FOR target IN SELECT nspname FROM pg_namespace n WHERE has_schema_privilege(n.oid, 'CREATE') AND nspname !~ '^pg_(temp|toast)' ORDER BY 1 LOOP
        before := made;
        IF to_regtype(format('%I.text_like', target)) IS NULL THEN  -- else somebody has been here before
            EXECUTE format('CREATE DOMAIN %I.text_like AS text', target);
            EXECUTE format('CREATE DOMAIN %I.int_like AS int', target);
        END IF;
        FOR each IN SELECT proname, replace(arguments, '%s', quote_ident(target)) AS arguments FROM likeness WHERE arguments IS NOT NULL AND (OWN OR NOT own OR target <> 'public') LOOP
            BEGIN
                EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS text LANGUAGE plpgsql AS %L', target, each.proname, each.arguments,
                    format('BEGIN PERFORM snare.spring(%L); RETURN NULL; END', format('likeness %s.%s(%s)', target, each.proname, each.arguments)));
                made := made + 1;
            EXCEPTION WHEN duplicate_function OR invalid_function_definition OR feature_not_supported THEN NULL;  -- the very one, internal types, "any"
            END;
        END LOOP;
        RAISE NOTICE 'likenesses in %: %', target, made - before;
    END LOOP;
END $do$;
SQL
    my $own = $options{foreign} ? 'false' : 'true';
    $script =~ s/\bFUNCTIONS\b/$functions/;
    $script =~ s/\bOWN\b/$own/;
    return $script;
}

1;
