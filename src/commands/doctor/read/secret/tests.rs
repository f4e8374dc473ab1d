use proptest::prelude::*;

use super::*;

fn kinds(text: &str, python: bool) -> Vec<(u32, SecretKind)> {
    lines(text, python, &["known-to-us-4711".into()])
}

#[test]
fn secrets_in_python() {
    use SecretKind::{Assigned, Known, SigningKey, Token, Url};
    for (text, expected) in [
        ("x = 1\nJWT_SECRET = \"literal\"\n", (2, SigningKey)),
        ("JWT_SECRET: str | None = 'hunter2'", (1, SigningKey)),
        ("os.environ['JWT_SECRET'] = 'hunter2'", (1, SigningKey)),
        ("config = {'SECRET_KEY': 'hunter2'}", (1, SigningKey)),
        ("key = os.getenv('JWT_SECRET', 'supersecret')", (1, SigningKey)),
        ("key = os.getenv('JWT_SECRET') or 'supersecret'", (1, SigningKey)),
        ("k = os.environ.get('STRIPE_TOKEN', '9f86d081884c7d659a2feaa0c55ad015')", (1, Assigned)),
        ("# API_KEY = 'Zk3xPq9vLw2nRt7bYm5c'", (1, Assigned)),
        ("def f(db_password='Tr0ub4dor&3'): ...", (1, Assigned)),
        ("    api_key: str = Field(default='Zk3xPq9vLw2nRt7bYm5c')", (1, Assigned)),
        ("    api_key = config('API_KEY', default='Zk3xPq9vLw2nRt7bYm5c')", (1, Assigned)),
        (" 'postgresql://a:hunter2@db.acme.com/x')", (1, Url)),
        ("'''\nuse ghp_16C7e42F292c6912E7710c838347Ae178B4a\n'''", (2, Token)),
        ("x = 'known-to-us-4711'", (1, Known)),
        ("TOKEN = 'é é é', SECRET_KEY='hunter2'", (1, SigningKey)),
        ("key = os.getenv(\n    'JWT_SECRET', 'supersecret'\n)", (2, SigningKey)),
        ("key = os.getenv(\n    'JWT_SECRET',  # or this\n    'supersecret',\n)", (3, SigningKey)),
        ("SECRET_KEY = (\n    'hunter2'\n)", (2, SigningKey)),
        ("api_key: str = Field(\n    default='Zk3xPq9vLw2nRt7bYm5c',\n)", (2, Assigned)),
        ("    jwt_secret: str = Field('hunter2', min_length=5)", (1, SigningKey)),
        ("    jwt_secret: SecretStr = SecretStr('hunter2')", (1, SigningKey)),
        (&format!("jwt_secret: str = Field('hunter2', description='{}')", "long ".repeat(30)), (1, SigningKey)),
        ("    api_key: SecretStr = Field(default=SecretStr('Zk3xPq9vLw2nRt7bYm5c'))", (1, Assigned)),
        ("    api_key: SecretStr = Field(SecretStr('Zk3xPq9vLw2nRt7bYm5c'))", (1, Assigned)),
        ("key = os.getenv('JWT_SECRET', default='supersecret')", (1, SigningKey)),
        ("key = parser.get('app', 'jwt_secret', fallback='supersecret')", (1, SigningKey)),
        ("key = get_env('JWT_SECRET', 'supersecret')", (1, SigningKey)),
        ("p = env_or('DB_PASSWORD', 'Tr0ub4dor&3')", (1, Assigned)),
        ("key = os.environ['JWT_SECRET'] if on else 'supersecret'", (1, SigningKey)),
        ("e = create_engine('postgresql://app:hunter2@db.acme.com/app')", (1, Url)),
        ("u = os.environ.get('X', 'postgresql://u:hunter2@db.acme.com/x')", (1, Url)),
        ("c = psycopg2.connect('host=db.acme.com dbname=x user=app password=Tr0ub4dor&3')", (1, Assigned)),
        ("c = connect(\"host=localhost user=app password='Tr0ub4dor&3'\")", (1, Assigned)),
        ("key = os.getenv('JWT_SECRET') or 'hunter2", (1, SigningKey)),
    ] {
        assert_eq!(kinds(text, true), [expected], "{text}");
    }
}

#[test]
fn what_is_not_a_secret_in_python() {
    for text in [
        "JWT_SECRET = os.environ['JWT_SECRET']",
        "JWT_SECRET = os.getenv('JWT_SECRET', 'change-me')",
        "JWT_SECRET = os.getenv('JWT_SECRET', 'dev-secret-not-for-production')",
        "JWT_SECRET = os.getenv('JWT_SECRET', 'secret')",
        "JWT_SECRET = os.getenv('JWT_SECRET', 'sua-chave-aqui')",
        "JWT_SECRET = os.getenv('JWT_SECRET', '')",
        "token = jwt.encode(claims, JWT_SECRET, algorithm='HS256')",
        "faults.append(f'JWT_SECRET has fewer than {MIN} characters: {NEW}')",
        "NEW_SECRET = \"python -c 'import secrets; print(secrets.token_urlsafe(48))'\"",
        "oauth = OAuth2PasswordBearer(tokenUrl='/api/v1/auth/token')",
        "api_key = APIKeyHeader(name='X-Internal-Token-V2')",
        "DATABASE_URL = os.getenv('DATABASE_URL', 'postgresql+asyncpg://user:password@localhost:5432/app')",
        "url = f'postgresql://{user}:{password}@{host}/{name}'",
        "revision = '9f86d081884c7d659a2f'",
        "('JWT_SECRET', 'SECRET_KEY')",
        "json_schema_extra={\n  'example': {\n    'password': 'S3curePass!23',\n  }\n}",
        "password: str = Field(examples=['S3curePass!23'])",
        "JWT_SECRET = os.getenv(\n    'JWT_SECRET',\n    'change-me',\n)",
        "jwt_secret: str = Field(..., alias='JWT_SECRET')",
        "SECRET_KEY = load('jwt_key')",
        "SECRET_KEY = open('/run/secrets/x').read()",
        "SECRET_KEY = config('jwt_secret')",
        "headers = (\n    'X-Api-Key',\n    'Authorization',\n)",
        "NAMES = [\n    'JWT_SECRET',\n    'DATABASE_URL',\n]",
        "check('JWT_SECRET', 'is not set')",
        "c = connect(host=host, user=user, password=password)",
        "c = connect(f'host={host} user={user} password={password}')",
        "c = connect('host=localhost user=postgres password=postgres')",
        "c = connect(host=h, user=u, password=settings.db_password2)",
        "x = a if b else 'Zk3xPq9vLw2nRt7bYm5c'",
        "state = 'set' if settings.jwt_secret else 'missing'",
        "if not os.getenv('JWT_SECRET') or 'production' in name:",
        "if not os.getenv('JWT_SECRET') or 'production' == name:",
        "key = vault.get_secret('JWT_SECRET', 'latest')",
        "c = connect(host=host, user=user, password=pg14password, port=5432)",
        "PUBLIC_KEY = 'MIIBIjANBgkqhkiG9w0BAQEFAAOC'",
        "STRIPE_PUBLISHABLE_KEY = 'pk_live_51Zk3xPq9vLw2nRt7bYm5c'",
        "KMS_KEY_ID = '1234abcd-12ab-34cd-56ef-1234567890ab'",
    ] {
        assert_eq!(kinds(text, true), [], "{text}");
    }
}

#[test]
fn secrets_in_settings() {
    use SecretKind::{Assigned, SigningKey, Url};
    for (text, expected) in [
        ("A=1\nexport JWT_SECRET=hunter2", (2, SigningKey)),
        ("ENV JWT_SECRET hunter2", (1, SigningKey)),
        ("web: JWT_SECRET=hunter2 sidepulse run", (1, SigningKey)),
        ("[env]\nAPI_TOKEN = \"Zk3xPq9vLw2nRt7bYm5c\"", (2, Assigned)),
        ("  POSTGRES_PASSWORD: Tr0ub4dor&3", (1, Assigned)),
        ("{\"env\": {\"API_KEY\": \"Zk3xPq9vLw2nRt7bYm5c\"}}", (1, Assigned)),
        ("--index-url https://u:hunter2@pypi.acme.com/simple", (1, Url)),
        ("jwt_secret: hunter2 # until May", (1, SigningKey)),
        ("SECRET_KEY=*hunter2", (1, SigningKey)),
        ("{jwt_secret: hunter2, level: 3}", (1, SigningKey)),
        ("# API_KEY: Zk3xPq9vLw2nRt7bYm5c is the one of May", (1, Assigned)),
    ] {
        assert_eq!(kinds(text, false), [expected], "{text}");
    }
    for text in [
        "JWT_SECRET=",
        "JWT_SECRET=change-me",
        "JWT_SECRET=${JWT_SECRET}",
        "JWT_SECRET=[generate with openssl]",
        "  SECRET_KEY: ${SECRET_KEY:?Variable not set}",
        "  SECRET_KEY: ${SECRET_KEY:-hunter2}",
        "POSTGRES_PASSWORD: postgres",
        "DATABASE_URL=postgresql://user:password@host/db",
        "web: sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'",
        "asyncpg==0.32.0 --hash=sha256:9f86d081884c7d659a2feaa0c55ad0159f86d081884c7d659a2feaa0c55ad015",
        "export JWT_SECRET=`openssl rand -hex 32`",
        "echo \"JWT_SECRET: missing\" >&2",
        "if [ \"$JWT_SECRET\" = production ]; then",
        "# JWT_SECRET: at least 32 characters",
        "jwt_secret: null",
        "{\"jwt_secret\": null}",
        "{\n  \"jwt_secret\": null\n}",
        "jwt_secret: !ENV JWT_SECRET",
        "jwt_secret: *shared",
        "jwt_secret: &shared",
    ] {
        assert_eq!(kinds(text, false), [], "{text}");
    }
}

#[test]
fn passwords_in_urls() {
    for text in [
        "postgresql://app:hunter2@db.acme.com/app",
        "postgresql+asyncpg://neondb_owner:npg_a1B2c3D4e5F6@ep-x-1.eu-central-1.aws.neon.tech/neondb?ssl=require",
        "url = 'postgres://app:9f86d081884c7d65@localhost/app' # local",
        "redis://default:hunter22@cache.acme.com:6379",
        "https://a8Kd92jfLsP0xQ7tZk3xPq9v@github.com/acme/private.git",
    ] {
        assert!(has_url_password(text), "{text}");
    }
    for text in [
        "postgresql://user:password@localhost:5432/app",
        "postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE",
        "postgresql://postgres:postgres@db/app",
        "postgresql://postgres:secret12@localhost/app",
        "postgresql://{user}:{password}@{host}/x",
        "postgresql://app:${PGPASSWORD}@db.acme.com/app",
        "postgresql+asyncpg://postgres@localhost:5432/postgres",
        "https://medium.com/@someone:else",
        "see http://[::1]:80/",
        "postgresql://u:hunter2@db.example.com/app",
        "git+https://github.com/acme/x.git@4f9a8b7c6d5e",
    ] {
        assert!(!has_url_password(text), "{text}");
    }
}

#[test]
fn tokens_by_their_vendors_prefix() {
    for text in [
        "key: ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "npg_a1B2c3D4e5F6",
        "-----BEGIN RSA PRIVATE KEY-----",
        "AKIAIOSFODNN7EXAMPL1",
    ] {
        assert!(has_token(text), "{text}");
    }
    for text in ["ghp_", "npg_xxxxxxxxxxxx", "sk-something-in-words-that-is-long-enough", "BEGIN CERTIFICATE"] {
        assert!(!has_token(text), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
        python in any::<bool>(),
    ) {
        let _ = lines(&pieces.concat(), python, &[]);
    }
}

/// What leads into every branch, and characters of more than a byte.
const PIECES: &[&str] = &[
    "JWT_SECRET",
    "api_key",
    " = ",
    "=",
    ": ",
    ",",
    "(",
    ")",
    "'",
    "\"",
    "\n",
    " #",
    "é",
    "ß…",
    "Field(",
    "SecretStr(",
    "getenv(",
    "get(",
    ") or ",
    " else ",
    "default=",
    "password=",
    "host=",
    "user=",
    "://",
    "@",
    ":",
    "${",
    "}",
    "ENV ",
    "hunter2",
    "Zk3xPq9vLw2nRt7bYm5c",
    "example",
    "[",
    "]",
    "ghp_",
    "-----BEGIN",
    " ",
    "r",
    "b",
];
